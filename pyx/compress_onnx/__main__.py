"""python -m compress_onnx: the command."""

import sys

from .cli import main

sys.exit(main())
