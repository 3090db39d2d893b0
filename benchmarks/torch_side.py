"""PyTorch's side of a benchmark: the same networks through ``torch_backend``, autograd, ``torch.optim.AdamW``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch_backend
from cases import FORWARD, Model, Operation, draw_parameter

Prepared = tuple[Callable[[], list[np.ndarray]], Callable[[], Any]]
count_flops = torch_backend.count_flops


def start(threads: int) -> None:
    """Put PyTorch under the networks."""
    torch.set_num_threads(threads)
    torch_backend.install()


def prepare(case: Any) -> Prepared:
    """Return what shows a case's outputs, and what runs it once."""
    if isinstance(case, Operation):
        return _update(case) if case.function == "adamw" else _operation(case)
    return _forward(case) if case.phase == FORWARD else _step(case)


def network(case: Model) -> Any:
    """Return a case's part of its network, with the weights it has on both sides."""
    from measured_cells import PARTS

    whole = case.build(lambda factory, params: factory(params))
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            parameter.copy_(torch.from_numpy(np.asarray(draw_parameter(name, tuple(parameter.shape)))))
    return PARTS[case.part](whole)


def _forward(case: Model) -> Prepared:
    part = network(case).eval()
    tensors = [torch.from_numpy(array) for array in case.arrays()]

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return part(*tensors)

    return lambda: [call().numpy()], call


def _optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.01, eps=1e-8, fused=True)


def _step(case: Model) -> Prepared:
    from measured_cells import SquareLoss

    loss_of = SquareLoss(network(case))
    tensors = [torch.from_numpy(array) for array in case.arrays()]
    optimizer = _optimizer(loss_of.parameters())

    def backward() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*tensors)
        loss.backward()
        return loss.detach()

    def step() -> None:
        backward()
        optimizer.step()

    def checked_step() -> list[np.ndarray]:
        loss = backward()
        gradients = [p.grad for p in loss_of.parameters() if p.grad is not None]
        norm = torch.stack([gradient.double().norm() for gradient in gradients]).norm()
        optimizer.step()
        return [loss.numpy().reshape(1), norm.numpy().reshape(1)]

    return checked_step, step


def _operation(case: Operation) -> Prepared:
    import measured_cells

    function = getattr(measured_cells, case.function)
    tensors = [torch.from_numpy(array) for array in case.arrays()]

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return function(*tensors)

    if case.phase == FORWARD:
        return lambda: [call().numpy()], call
    for tensor in tensors:
        tensor.requires_grad_()
    weights = torch.ones(call().shape)

    def differentiate() -> Any:
        return torch.autograd.grad(function(*tensors), tensors, weights)

    return lambda: [g.numpy() for g in differentiate()], differentiate


def _update(case: Operation) -> Prepared:
    parameters = [torch.nn.Parameter(torch.from_numpy(draw_parameter("w", shape))) for shape in case.shapes]
    for parameter, array in zip(parameters, case.arrays(), strict=True):
        parameter.grad = torch.from_numpy(array)
    optimizer = _optimizer(parameters)

    def show() -> list[np.ndarray]:
        optimizer.step()
        return [parameters[0].detach().numpy()]

    return show, optimizer.step
