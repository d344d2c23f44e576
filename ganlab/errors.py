"""Errors a user can act on: each says what was given, what is allowed and what to do next."""


class GanlabError(Exception):
    """Base of all errors that the command line prints without a traceback."""


class NotFinite(GanlabError):
    """A term became NaN or infinite; the message names the term and the step."""


class OutOfMemory(GanlabError):
    """The device ran out of memory; the message says how much was asked for and what to lower."""


class CheckpointError(GanlabError):
    """A checkpoint is truncated, foreign, of another version, or of another model."""


class DataError(GanlabError):
    """A data set cannot be found, downloaded, verified or read."""
