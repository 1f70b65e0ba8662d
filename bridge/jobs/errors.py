"""Why a job is not taken, or ended without a result, in the user's words."""

from bridge.errors import Cancelled, UnflattenError


class ShuttingDown(UnflattenError):
    code = "shutting_down"
    retryable = True

    def __init__(self) -> None:
        super().__init__("The bridge is being stopped and takes no new pictures.", "Try again in a moment.")


class Busy(UnflattenError):
    code = "busy"
    retryable = True

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} pictures are waiting already.", "Wait until some are done.")


class DuplicateJob(UnflattenError):
    code = "duplicate_job"

    def __init__(self) -> None:
        super().__init__("A job with this number is already here.", "Start again.")


class UnknownJob(UnflattenError):
    code = "unknown_job"

    def __init__(self) -> None:
        super().__init__(
            "The bridge does not know this job: its result was erased, or its picture never arrived whole.",
            "Start again.",
        )


class LayersGone(UnflattenError):
    code = "gone"

    def __init__(self) -> None:
        super().__init__("The layers are no longer on the disk.", "Start again.")


class CutOff(UnflattenError):
    """The bridge ended, in order or not, before the job did."""

    code = "interrupted"
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The bridge was stopped before the picture was split.", "Start again: nothing in the document was changed."
        )


class GoesOn(CutOff):
    """The same, of a job that a remote service has: the next bridge takes it up."""

    def __init__(self) -> None:
        UnflattenError.__init__(
            self,
            "The bridge was stopped while the picture was being split elsewhere; that goes on.",
            "Start again with the same picture and settings: it is taken up where it is, and not paid for twice.",
        )


class Abandoned(Cancelled):
    """The job's client left and did not come back in time."""

    def __init__(self) -> None:
        super().__init__("Stopped: nobody was there any more to take the layers.", "Start again.")
