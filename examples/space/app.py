"""The page of `lure ui` as a Hugging Face Space."""

import os

from lure_cli.cli import main

host = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0")
port = os.environ.get("GRADIO_SERVER_PORT", "7860")
main(["ui", "--host", host, "--port", port, "--no-browser", "--max-upload", "50", "--max-pixels", "12000000"])
