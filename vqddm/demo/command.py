"""`vqddm demo`: finds the models at hand, shows the page and waits."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
import threading
from collections.abc import Iterable

from vqddm.api.folders import at_hand
from vqddm.artifacts import UserError

MISSING = "Gradio is not installed; `pip install 'vqddm[demo]'` brings it, in the repository `make demo`"
PORTS = range(7860, 7960)


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
    ports = [port] if port else PORTS
    free_port(host, ports)  # what is wrong is told before Gradio's import, which takes seconds
    with tempfile.TemporaryDirectory(prefix="vqddm-demo-") as uploads:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": uploads}  # read at its import
        try:
            from vqddm.demo.page import page, start
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise UserError(MISSING) from None
        blocks = page(names, device)
        try:
            print(f"{start(blocks, host, free_port(host, ports))} shows the page; Ctrl-C ends it", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
        finally:
            blocks.close(verbose=False)


def free_port(host: str, ports: Iterable[int]) -> int:
    """The first of the ports that is not taken.

    Raises:
        UserError: all are, or there is no such address here.
    """
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind((host, port))
                return port
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or error
                if getattr(error, "errno", None) != errno.EADDRINUSE:
                    break
    raise UserError(f"{host}, port {port}: not to be had ({reason}); give another --host or --port")
