import sys
from types import ModuleType

from frih.harmonizing import stills


def test_a_numba_that_is_being_imported_has_compiled_nothing(monkeypatch):
    """The thread that tells of slow work may look while another one imports it."""
    monkeypatch.setitem(sys.modules, "numba.core.dispatcher", ModuleType("numba.core.dispatcher"))
    assert stills._compiled() == 0
