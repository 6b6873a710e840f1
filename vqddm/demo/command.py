"""`vqddm demo`: finds the models at hand, shows the page and waits."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading

from vqddm.api.folders import at_hand
from vqddm.artifacts import UserError


def demo(
    model: str | None = None, *, host: str = "127.0.0.1", port: int | None = None, device: str | None = None
) -> None:
    """Try a trained model on a page in the browser: sample, paint, look inside. Nothing leaves this machine.

    Args:
        model: name of a model that comes with vqddm, or a folder; left out: one chooses on the page among those that
            come with vqddm and those below `models`.
        host: address to listen on; `0.0.0.0` lets others on the network in.
        port: to listen on; left out: the first free one from 7860.

    Raises:
        UserError: Gradio is not installed, there is no model or device, or the address is not to be had.
    """
    names = [model] if model else at_hand()
    if not names:
        raise UserError("no trained model comes with this installation, nor is one below models; name one's folder")
    with tempfile.TemporaryDirectory(prefix="vqddm-demo-") as uploads:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": uploads}  # read at its import
        try:
            from vqddm.demo.page import page, start
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise UserError(
                "Gradio is not installed; say `make demo`, or `pip install 'vqddm[demo]'` and this"
            ) from None
        blocks = page(names, device)
        try:
            print(f"{start(blocks, host, port)} shows the page; Ctrl-C ends it", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
        finally:
            blocks.close(verbose=False)
