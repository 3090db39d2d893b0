"""Print, as JSON, the parameter shapes and adapted layers of full-size networks; fails if that needs MindSpore."""

import json
import sys

from videogen_cli.nets.clip import CLIPText
from videogen_cli.nets.lora import adapted_modules
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.nets.vae2d import AutoencoderKL
from videogen_cli.runtime.cells import shapes

student = UNet3D(UNet3DParams(time_cond_proj_dim=256))
networks = {
    "teacher": UNet3D(UNet3DParams()),
    "student": student,
    "motion": UNet3D(UNet3DParams(time_cond_proj_dim=256, motion_cond_proj_dim=256)),
    "vae": AutoencoderKL(AutoencoderKLParams()),
    "text": CLIPText(CLIPTextParams()),
}
report = {name: list(shapes(cell).items()) for name, cell in networks.items()}
assert "mindspore" not in sys.modules
json.dump({"shapes": report, "adapted": adapted_modules(student)}, sys.stdout)
