"""PyTorch's side of the T2V-Turbo benchmark computes what vgen does, and tables show what was measured."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
# Run where PyTorch stands under vgen's networks: both phases by the libraries, and by vgen's own classes.
CODE = """
import json
import numpy as np
import torch, torch_side
torch_side.start(1)
import turbo, turbo_torch
from cases import FORWARD, TRAIN
from videogen_cli.data.tokenizers import load_tokenizer
from videogen_cli.models.t2v_turbo.distill_loss import EncodedPixels, StageLoss
from videogen_cli.models.t2v_turbo.distillation import DistillationLoss
from videogen_cli.models.t2v_turbo.pipeline import T2VTurboPipeline
from videogen_cli.nets.lora import ADAPTED
from videogen_cli.registry import load_attr, spec
from videogen_cli.weights.lora import Layer

SMALL = ("unet.model_channels=64", "unet.channel_mult=[1,1,1,1]", "unet.num_res_blocks=1", "unet.context_dim=64")
SMALL += ("text.width=64", "text.heads=2", "text.layers=1", "vae.base_channels=32", "vae.channel_mult=[1,1,1,1]")
SMALL += ("vae.num_res_blocks=1", "sample.height=64", "sample.width=64", "sample.num_frames=2", "data.height=64")
SMALL += ("data.width=64", "data.num_frames=2", "lora.rank=4")
infer, step = turbo.Turbo("small", FORWARD, "", SMALL), turbo.Turbo("small", TRAIN, "", SMALL)

def peers(config):
    cells = {}
    for name in ("text", "unet", "vae"):
        cells[name] = load_attr(spec("t2v-turbo").component(name).build)(getattr(config, name)).requires_grad_(False)
        for key, tensor in turbo.weights_of({k: p.shape for k, p in cells[name].named_parameters()}).items():
            cells[name].get_parameter(key).copy_(torch.from_numpy(tensor.numpy()))
    return cells

def with_factors(unet, rank):
    for name, layer in unet.named_modules():
        if isinstance(layer, tuple(ADAPTED.values())):
            shapes = Layer(name, tuple(layer.weight.shape)).factor_shapes(rank)
            up, down = (turbo.draw_factor(f"{name}.lora.{k}", s) for k, s in zip(("up", "down"), shapes))
            product = up.reshape(len(up), -1) @ down.reshape(len(down), -1)
            layer.weight += torch.from_numpy(product).reshape(layer.weight.shape)
    return unet

class OnTorch(T2VTurboPipeline):
    def _run(self, component, *arrays):
        return self._calls[component](*map(torch.from_numpy, arrays)).numpy()

with torch.no_grad():
    config, cells = infer.config, peers(infer.config)
    teacher = peers(config)["unet"]
    student = with_factors(cells["unet"], config.lora.rank)
    pipeline = OnTorch(config, cells)
    latents = pipeline.sample([turbo.PROMPT], [turbo.SEED])
    frames, pixels = pipeline.decode_float(latents), pipeline.decode(latents)[0]
    config, sample = step.config, turbo.batch(step.config)
    agreement = DistillationLoss(student, teacher, "huber", config.distill.huber_c)
    empty, mean = load_tokenizer(config.tokenizer).encode([""])[0], np.zeros((4, 1, 1, 1))
    std = mean + 1 / config.diffusion.latent_scale
    stage = StageLoss(EncodedPixels(cells["vae"], 8), cells["text"], agreement, empty, mean, std)
    loss = float(stage(*map(torch.from_numpy, sample))[0])

show, run, parts = turbo_torch.prepare(infer)
shown, ran = show()[0], run()
found = {"error": float(np.abs(shown - frames).max() / np.abs(frames).max()), "shape": ran.shape}
found |= {"pixels": int(np.abs(ran.astype(int) - pixels).max()), "spread": float(ran.std()), "parts": [*parts()]}
show, run, parts = turbo_torch.prepare(step)
(first, norm), (second, _) = show(), show()
found |= {"expected": loss, "first": float(first[0]), "second": float(second[0]), "norm": float(norm[0])}
print(json.dumps(found | {"step": [*parts()]}))
"""


@pytest.fixture(scope="module")
def found():
    """What ``CODE`` prints."""
    pytest.importorskip("diffusers")
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": f"{FOLDER}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def benchmarks(monkeypatch):
    """Let tests import the files of benchmarks/."""
    monkeypatch.syspath_prepend(str(FOLDER))


def test_a_batch_is_what_the_loss_takes(benchmarks):
    import turbo

    from videogen_cli.models.t2v_turbo.distill_loss import StageLoss

    taken = [p.name for p in inspect.signature(StageLoss.construct).parameters.values() if p.kind != p.VAR_POSITIONAL]
    assert list(turbo.Batch._fields) == taken[1:]


def test_a_case_is_the_published_preset_at_another_size(benchmarks):
    import turbo

    infer, step = (case.config for case in turbo.CASES)
    assert (infer.sample.sampler, infer.sample.num_inference_steps, infer.unet.model_channels) == ("lcm", 4, 320)
    assert (infer.sample.num_frames, infer.sample.height, infer.sample.width) == (8, 128, 128)
    assert (step.lora.rank, step.distill.loss, step.train.clip_norm, step.data.num_frames) == (32, "huber", 1.0, 8)
    assert step.distill.image_reward_scale == step.distill.video_reward_scale == step.lora.dropout == 0


def test_the_libraries_frames_are_the_pipelines(found):
    assert found["error"] < 1e-4 and found["pixels"] <= 1 and found["spread"] > 10
    assert found["shape"] == [2, 64, 64, 3]
    assert found["parts"] == ["text tower", "UNet, 4 calls", "VAE decoder"]


def test_the_libraries_step_has_the_loss_of_the_stage(found):
    assert found["first"] == pytest.approx(found["expected"], rel=1e-4)
    assert found["second"] < found["first"] and found["norm"] > 0
    assert found["step"] == [
        "VAE encoder",
        "text tower",
        "teacher, 2 calls",
        "student, forward",
        "student, backward",
        "clipping and AdamW",
    ]


def test_factors_beside_a_layer_do_what_factors_in_its_weight_do(benchmarks):
    import torch_lora

    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0))
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, 2, 1), torch.nn.Flatten(1), torch.nn.Linear(12, 3))
    network = torch.nn.ModuleDict({"frames": convolution, "image": network})
    video, image = torch.randn(1, 3, 4, 2, 2), torch.randn(1, 2, 4, 4)

    def outputs():
        return torch.cat([network["frames"](video).flatten(), network["image"](image).flatten()]).detach()

    before, drawn = outputs(), []

    def draw(name, kind, shape):
        drawn.append((name, kind, shape))
        return np.random.default_rng(len(drawn)).standard_normal(shape).astype(np.float32)

    factors = torch_lora.adapt(network, 2, draw)
    assert drawn[:2] == [("frames.weight", "up", (4, 2, 1, 1, 1)), ("frames.weight", "down", (2, 3, 3, 1, 1))]
    assert drawn[-1] == ("image.2.weight", "down", (2, 12))
    assert [factor.shape for factor in factors] == [shape for _, _, shape in drawn]
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(factor) for factor in factors}
    beside = outputs()
    with torch_lora.without_factors(network):
        assert torch.equal(outputs(), before)
    assert not torch.allclose(beside, before) and torch.equal(outputs(), beside)
    torch_lora.merge(network)
    assert not any(isinstance(module, torch_lora.Adapted) for module in network.modules())
    assert torch.allclose(outputs(), beside, atol=1e-5)
