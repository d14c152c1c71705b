"""The one exception that users see."""


class UserError(ValueError):
    """Something the user can mend: the message names the file or key at fault and says what to do about it.

    The entry points print it as a single line, without a traceback, and exit with status 2.
    Everything else that is raised is a defect of this project.
    """
