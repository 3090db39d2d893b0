"""PyTorch's side of the benchmarks knows every operator that the measured networks call, as they call it."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
MEASURED = ("attention", "blocks", "clip", "dit", "latte", "layers", "moviegen", "t5", "tae", "unet3d", "vae2d")
MEASURED += ("vae3d", "vae3d_blocks", "vae_blocks")
ELSEWHERE = {"resample", "resampling", "resize", "assign"}  # operators of networks that no benchmark measures


@pytest.fixture(scope="module")
def backend():
    """``benchmarks/torch_backend.py``, which does nothing before it is installed."""
    sys.path.insert(0, str(FOLDER))
    try:
        import torch_backend

        yield torch_backend
    finally:
        sys.path.remove(str(FOLDER))


def called(name):
    """Return the operators that a file of networks calls."""
    tree = ast.parse((ROOT / "videogen_cli" / "nets" / f"{name}.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    return {node.attr for node in nodes if node.value.id == "F"}


def signatures():
    """Return what the documentation of ``functional`` says of each operator: name -> parameters."""
    text = ast.get_docstring(ast.parse((ROOT / "videogen_cli" / "runtime" / "functional.py").read_text())) or ""
    found = {}
    for head in re.findall(r"(?:^|, )``(\w+\([^`]*\))``", text, re.MULTILINE):
        call = ast.parse(head, mode="eval").body
        found[call.func.id] = [a.id for a in call.args] + [keyword.arg for keyword in call.keywords]
    return found


def test_every_operator_of_the_measured_networks_has_a_peer(backend):
    names = set().union(*map(called, MEASURED))
    assert {"linear", "conv3d", "attention"} <= names
    assert sorted(name for name in names - ELSEWHERE if not callable(getattr(backend, name, None))) == []


def test_peers_take_what_operators_are_documented_to_take(backend):
    documented = signatures()
    assert documented["linear"] == ["x", "weight", "bias", "residual"]
    for name, parameters in documented.items():
        peer = None if name in ELSEWHERE else getattr(backend, name)
        if inspect.isfunction(peer) and peer.__module__ == "torch_backend":
            assert list(inspect.signature(peer).parameters) == parameters, name


def test_an_operator_without_a_peer_is_named(backend):
    with pytest.raises(NotImplementedError, match=r"functional\.no_such_operator has no PyTorch peer"):
        _ = backend.no_such_operator


def test_a_network_runs_and_its_operations_are_counted():
    code = """
import sys
import torch, torch_side
from cases import Input, Model
from videogen_cli.nets.params.clip import CLIPTextParams
params = CLIPTextParams(vocab_size=9, context_length=5, width=8, heads=2, layers=2, embed_dim=8)
case = Model("clip", "forward", "", "videogen_cli.nets.clip:CLIPText", params, (Input((3, 5), "ids", 9),))
torch_side.start(1)
show, run = torch_side.prepare(case)
shown = []
flops = torch_side.count_flops(lambda: shown.extend(show()))
print(shown[0].shape, run().isfinite().all().item(), flops, "mindspore" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{FOLDER}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    tokens, width = 3 * 5, 8
    linears = 2 * tokens * width * (3 * width + width + 4 * width + 4 * width)
    attentions = 2 * 2 * 3 * 5 * 5 * width
    assert done.stdout.split(") ")[1].split() == ["True", str(linears + attentions), "False"]
