"""Write a Moving Shapes data set: mp4 files and a CSV, readable by any loader.

python scripts/make_moving_shapes.py data/shapes --clips 4096 --frames 8
python scripts/make_moving_shapes.py data/held-out --clips 120 --frames 8 --held-out
"""

from __future__ import annotations

import argparse
import sys

from videogen_cli.data.moving_shapes import SIZE, write_dataset
from videogen_cli.errors import VgenError
from videogen_cli.output import Output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--clips", type=int, default=4096)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=SIZE, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="only the combinations that no training set may show")
    options = parser.parse_args()
    if min(options.clips, options.frames, options.size) < 1:
        parser.error("--clips, --frames and --size must be at least 1")
    output = Output()
    try:
        with output.progress("writing clips", options.clips) as progress:
            path = write_dataset(
                options.folder,
                options.seed,
                options.clips,
                options.frames,
                options.size,
                held_out=options.held_out,
                progress=lambda done: progress.advance(),
            )
    except VgenError as error:
        output.error(str(error))
        return int(error.code)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
