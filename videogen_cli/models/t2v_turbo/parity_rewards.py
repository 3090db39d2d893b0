"""How the golden cases of reward models and their losses are run; every function takes a case, returns its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, checkpoint_kind, networks, tensor
from videogen_cli.models.t2v_turbo.reward_weights import image_reward_params
from videogen_cli.registry import load_attr

Outputs = dict[str, Any]


def openclip(case: Case) -> Outputs:
    """Preprocessing, features of both towers, their cosines, and the gradient in the pixels."""
    return _clip(case, "openclip")


def reward_hps(case: Case) -> Outputs:
    """The same with HPSv2.1's weights."""
    return _clip(case, "hps")


def reward_internvideo2(case: Case) -> Outputs:
    """Tokens, pooled tokens and features of both towers, and their cosine."""
    given, model = case.inputs, networks(case, ("video_reward",), "internvid")["video_reward"]
    tower, texts = model.vision_encoder, (given["input_ids"], given["attention_mask"])
    tokens = call(tower.tokens, given["pixels"])
    video, text = call(model.encode_video, given["pixels"]), call(model.encode_text, *texts)
    return {
        "pos_embed": tower.positions().asnumpy(),
        "vision_tokens": tokens,
        "vision_pooled": call(tower.pool, tokens),
        "vision_features": video,
        "text_hidden": call(model.text_encoder, *texts),
        "text_features": text,
        "score": (video * text).sum(-1),
    }


def loss_image_reward(case: Case) -> Outputs:
    """Selected frames, their scores, and the loss with its gradient in the latents."""
    decoder, clip, params = _decoder_and_model(case, "hps", "image_reward")
    from videogen_cli.models.t2v_turbo.rewards import ImageRewardLoss, ImageScore

    given, size = case.inputs, params.vision.image_size
    latents, index = given["model_pred"], given["frame_idx"]
    score = ImageScore(clip, size)
    loss = ImageRewardLoss(decoder, score, float(case.config.get("reward_scale", 1.0)))
    frames = call(decoder, latents, index)
    frames = frames.reshape(-1, *frames.shape[2:])
    return {
        "frames": frames,
        "scores": call(score, frames, given["tokens"]),
        **_latent_gradient(loss, latents, index, given["tokens"]),
    }


def loss_video_reward(case: Case) -> Outputs:
    """Frames spread over the video, their score, and the loss with its gradient in the latents."""
    decoder, model, params = _decoder_and_model(case, "internvid", "video_reward")
    from videogen_cli.models.t2v_turbo.rewards import VideoRewardLoss, VideoScore, spread_frames

    given, latents = case.inputs, case.inputs["model_pred"]
    count = case.config.get("video_rm_batch_size", params.video.num_frames)
    index = spread_frames(latents.shape[2], count, int(given["start_id"]))
    score = VideoScore(model, params.video.image_size)
    loss = VideoRewardLoss(decoder, score, float(case.config.get("video_reward_scale", 1.0)))
    corner = given.get("crop", np.zeros(2, np.int64))
    texts = given["input_ids"], given["attention_mask"]
    frames = call(decoder, latents, index)
    return {
        "frame_idx": index,
        "frames": frames.reshape(-1, *frames.shape[2:]),
        "pixels": call(score.pixels, frames, corner),
        "score": call(score, frames, corner, *texts),
        **_latent_gradient(loss, latents, index, corner, *texts),
    }


def _decoder_and_model(case: Case, kind: str, component: str) -> tuple[Any, Any, Any]:
    """Return the frame decoder, and the reward model of a checkpoint type with its params."""
    vae = networks(case, ("vae",), "vc2", role="vae")["vae"]
    model = networks(case, (component,), kind, role=kind)[component]
    from videogen_cli.models.t2v_turbo.rewards import FrameDecoder

    decoder = FrameDecoder(vae, std=1 / case.config.get("scale_factor", 0.18215))
    return decoder, model, load_attr(checkpoint_kind(case, kind).params)(case.config)[component]


def _latent_gradient(loss: Any, *arrays: np.ndarray) -> Outputs:
    gradient, (value, _) = input_gradient(loss, *arrays)
    return {"loss": value, "grad": gradient, "grad_norm": np.linalg.norm(gradient)}


def _clip(case: Case, kind: str) -> Outputs:
    given, params = case.inputs, image_reward_params(case.config)["image_reward"]
    clip = networks(case, ("image_reward",), kind)["image_reward"]
    from videogen_cli.models.t2v_turbo.rewards import FitSquare  # not before the device is started

    size, tokens = params.vision.image_size, given["tokens"]
    pixels = call(FitSquare(size), given["images"]) if "images" in given else given["pixels"]
    results: Outputs = {"pixels": pixels, "text_features": call(clip.encode_text, tokens)}
    if "images" in given:
        results["pixels_noantialias"] = call(FitSquare(size, antialias=False), given["images"])
    states = clip.text.states(tensor(tokens), params.text.layers - 1)
    results["text_penultimate"] = states.asnumpy()
    texts = np.resize(results["text_features"], (len(pixels), params.text.embed_dim))  # repeated in turn

    def score(images: Any) -> tuple[Any, Any, Any]:
        features = clip.encode_image(images)
        cosines = (features * tensor(texts)).sum(-1)
        return -cosines.mean(), cosines, features

    gradient, (_, results["score"], results["image_features"]) = input_gradient(score, pixels)
    return {**results, "grad_pixels": gradient}


def input_gradient(function: Callable[..., tuple[Any, ...]], *arrays: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return the gradient of ``function``'s first output in its first argument, and all outputs."""
    from mindspore import value_and_grad

    differentiate: Any = value_and_grad
    found, gradient = differentiate(function, grad_position=0, weights=None, has_aux=True)(*map(tensor, arrays))
    return gradient.asnumpy(), tuple(part.asnumpy() for part in found)
