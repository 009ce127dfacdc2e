"""Everything that can go wrong with a virtual GPU host, named by the condition."""


class GpuHostError(Exception):
    """Base of all errors here; the text is meant for the developer who started it."""


class BuildFailed(GpuHostError):
    """A command of the image build failed; the text holds the end of its output."""


class HostFailed(GpuHostError):
    """The host did not come up; the text holds the ends of its logs."""


class HostNotRunning(GpuHostError):
    """The host does not run."""


class HostDiffers(GpuHostError):
    """A host of that name runs already, with other hardware."""


class HostImmortal(GpuHostError):
    """The host's QEMU survives SIGKILL."""


class SaveFailed(GpuHostError):
    """QEMU could not write the state."""


class QmpRefused(GpuHostError):
    """QEMU refused a command; the text is its reason."""


class QmpClosed(GpuHostError):
    """QEMU went away, or its socket is not there."""


class ShellFailed(GpuHostError):
    """The debug shell did not answer, or the command in it failed."""


class CommandFailed(ShellFailed):
    """The command ended with a status other than 0."""

    def __init__(self, command: str, status: int, output: str) -> None:
        super().__init__(f"{command!r} ended with {status}: {output[-500:]}")
        self.status = status
        self.output = output


class NoSuchTarget(GpuHostError):
    """The card, port or guest that a fault is about is not there."""
