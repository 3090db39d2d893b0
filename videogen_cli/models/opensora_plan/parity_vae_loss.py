"""How golden cases of the video autoencoder's training loss are run.

The cases hold the input ``hidden`` of the decoder's last layer, by which the adversarial part is weighed. The layer
runs in single precision, as in training, and the loss in double: distances of unit-length features have gradients in
which single precision leaves four digits, while the recorded ones are compared to three. Even so, these gradients turn
on the last bits of the reconstruction: at one without rounding errors they are further from the recorded ones than a
case allows. So the loss is taken at one that was summed in the recording's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import gradients, in_double, norm
from videogen_cli.metrics.parity_networks import build, call, tensor
from videogen_cli.models.opensora_plan.parity_vae import input_gradients, load_at
from videogen_cli.models.opensora_plan.weights_vae import CAUSAL_VAE_KEYS
from videogen_cli.nets.params.autoencoder_loss import AutoencoderLossParams, autoencoder_loss_params

Outputs = dict[str, Any]


def vae_loss(case: Case) -> Outputs:
    """Both losses of ``video`` (b 3 f h w) at each of the config's ``steps``, and their gradients."""
    params = autoencoder_loss_params(case.config)
    loss = build(case, {"loss": params})["loss"]
    last = _last_layer(case)
    load_at(case, CAUSAL_VAE_KEYS, {"vae.decoder.conv_out": last, "loss": loss})
    loss.set_train(True)  # norms by the batch's statistics
    results: Outputs = {"recon": call(last, case.inputs["hidden"])}
    recon = call(_summed_as_recorded(last.conv), case.inputs["hidden"])
    results["lpips_per_frame"] = _distances(loss, case.inputs["video"], recon)
    in_double(loss, last)
    reconstruct = _exactly(last, recon)
    for step in case.config["steps"]:
        found = {
            **_generator(case, params, loss, last, reconstruct, step),
            **_judgement(case, params, loss, recon, step),
        }
        results |= {f"step{step}.{name}": value for name, value in found.items()}
    return results


def _last_layer(case: Case) -> Any:
    from videogen_cli.nets.vae3d_blocks import CausalConv3d
    from videogen_cli.runtime import module

    sizes = case.config["conv_out"]
    return module.build(lambda kernel: CausalConv3d(sizes["in"], sizes["out"], kernel), sizes["kernel"])


def _summed_as_recorded(conv: Any) -> Any:
    """Return the layer as a product over taps, then channels, whether or not there are kernels with another order."""
    from videogen_cli.runtime import cpu_ops

    def convolved(x: Any) -> Any:
        return cpu_ops.conv3d(x, conv.weight, conv.bias, conv.stride, conv.padding, None, conv.repeat_frames)

    return convolved


def _distances(loss: Any, video: Any, recon: Any) -> Any:
    from videogen_cli.nets.autoencoder_loss import frames

    return call(lambda x, y: loss.perceptual_loss(frames(x), frames(y)), video, recon)


def _exactly(last: Any, recon: Any) -> Any:
    """Return the last layer as a function with the values ``recon`` and its own gradients."""
    from videogen_cli.runtime import functional as F

    values = tensor(recon, np.float64)

    def reconstruct(hidden: Any) -> Any:
        found = last(hidden)
        return values + (found - F.stop_gradient(found))

    return reconstruct


def _generator(case: Case, params: AutoencoderLossParams, loss: Any, last: Any, reconstruct: Any, step: int) -> Outputs:
    """Return the autoencoder's loss with its parts, and its gradients by inputs, the last layer and ``logvar``."""
    from videogen_cli.nets.autoencoder_loss import adversarial_factor
    from videogen_cli.nets.vae3d import posterior

    video = tensor(case.inputs["video"], np.float64)
    factor = adversarial_factor(params, step)
    weight = _adaptive_weight(case, params, loss, last, reconstruct)

    def forward(hidden: Any, moments: Any) -> Any:
        return loss.generator(video, reconstruct(hidden), *posterior(moments), weight * factor)

    given = case.inputs["hidden"], case.inputs["moments"]
    (total, nll, kl, error, distance, doubt), by_input = input_gradients(forward, *given, real=np.float64)
    _, by_weight = gradients(forward, {"conv_out": last.conv, "loss": loss}, *given, real=np.float64)
    found: Outputs = {
        "ae_loss": total,
        "ae.total_loss": total,
        "ae.logvar": loss.logvar.asnumpy(),
        "ae.kl_loss": kl,
        "ae.nll_loss": nll,
        "ae.rec_loss": error,
        "grad.hidden": by_input[0],
        "grad.moments": by_input[1],
        "grad.conv_out.weight": by_weight["conv_out.weight"],
        "grad.conv_out.bias": by_weight["conv_out.bias"],
        "grad.logvar": by_weight["loss.logvar"],
    }
    if params.adversarial:
        return {**found, "ae.d_weight": weight, "ae.disc_factor": factor, "ae.g_loss": doubt}
    return {**found, "ae.p_loss": distance}


def _adaptive_weight(case: Case, params: AutoencoderLossParams, loss: Any, last: Any, reconstruct: Any) -> float:
    """Return the weight of the adversarial part by both gradients at the last layer, 0 where it never counts."""
    from videogen_cli.nets.autoencoder_loss import adaptive_weight

    if not params.adversarial or params.disc_factor <= 0:
        return 0.0

    def likelihood(video: Any, hidden: Any) -> Any:
        return loss.reconstruction(video, reconstruct(hidden))[0]

    def doubt(video: Any, hidden: Any) -> Any:
        return loss.doubt(reconstruct(hidden))

    given = case.inputs["video"], case.inputs["hidden"]
    found = [gradients(part, {"last": last.conv}, *given, real=np.float64)[1] for part in (likelihood, doubt)]
    weight = adaptive_weight(*(tensor(grads["last.weight"], np.float64) for grads in found))
    return float(weight.asnumpy()) * params.disc_weight


def _judgement(case: Case, params: AutoencoderLossParams, loss: Any, recon: Any, step: int) -> Outputs:
    """Return the discriminator's loss with its parts, and its gradients."""
    from videogen_cli.nets.autoencoder_loss import adversarial_factor

    if not params.adversarial:
        return {}
    factor = adversarial_factor(params, step)

    def forward(x: Any, y: Any) -> Any:
        return loss.judgement(x, y, factor)

    (total, real, fake), grads = gradients(
        forward, {"d": loss.discriminator}, case.inputs["video"], recon, real=np.float64
    )
    trained = {name: value for name, value in grads.items() if ".running_" not in name}
    return {
        "disc_loss": total,
        "disc.logits_real": real,
        "disc.logits_fake": fake,
        "grad_norm.discriminator": norm(trained),
        "grad.disc_first_conv": grads["d.main.0.weight"],
    }
