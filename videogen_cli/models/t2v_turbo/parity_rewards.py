"""How the golden cases of the reward models are run; every function takes a case and returns its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks, tensor
from videogen_cli.models.t2v_turbo.reward_weights import image_reward_params

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
