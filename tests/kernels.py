"""Kernels for nbval that are forked from a process which has imported what every notebook imports.

To import torch, its compiler (for the first optimizer), matplotlib and IPython takes four seconds of a processor, for
each of thirty notebooks. JupyterLab, `course build` and the tests of labs start kernels as a student's are started.
"""

import multiprocessing
import os
import signal
import sys
from importlib.metadata import EntryPoint
from multiprocessing.connection import Connection
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

PRELOADED = ("ipykernel.kernelapp", "torch", "torch._dynamo", "matplotlib.figure", "IPython.core.pylabtools")


class ForkedProcess:
    """A process of `multiprocessing` with the methods of `subprocess.Popen` that jupyter_client calls."""

    stdin = stdout = stderr = None

    def __init__(self, *args: Any) -> None:
        forking = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload(list(PRELOADED))  # of no effect once the server runs
        here, there = forking.Pipe()
        self.process = forking.Process(target=run_kernel, args=(there, *args))
        self.process.start()
        here.recv()  # until it leads a group of its own, a signal to its group would be one to ours
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_kernel(ready: Connection, arguments: list[str], folder: str | None, variables: dict[str, str]) -> None:
    """In the forked process: what `python -m ipykernel_launcher` does, without a word on stderr, as nbval has it."""
    os.setsid()
    ready.send(None)
    os.environ.clear()
    os.environ.update(variables, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder or ".")
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 2):
        os.dup2(silence, number)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(arguments)


class ForkedProvisioner(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.process = ForkedProcess(arguments, kwargs.get("cwd"), dict(kwargs.get("env") or os.environ))
        self.pid = self.pgid = self.process.pid
        self.cwd = kwargs.get("cwd")
        return self.connection_info


def fork_kernels() -> None:
    """From now on nbval's kernels are forked, where a fork after these imports is safe: on Linux."""
    if sys.platform != "linux":
        return
    import nbval.kernel

    name, group = "forked", KernelProvisionerFactory.GROUP_NAME
    KernelProvisionerFactory.instance().provisioners[name] = EntryPoint(name, f"{__name__}:ForkedProvisioner", group)
    found = nbval.kernel.NbvalKernelspecManager.get_kernel_spec

    def get_kernel_spec(self, kernel_name):
        spec = found(self, kernel_name)
        spec.metadata = {**spec.metadata, "kernel_provisioner": {"provisioner_name": name}}
        return spec

    nbval.kernel.NbvalKernelspecManager.get_kernel_spec = get_kernel_spec
