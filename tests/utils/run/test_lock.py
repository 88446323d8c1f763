"""The lock of the folder of a run."""

import pytest

from utils.run import lock
from utils.run.interrupts import Interrupted
from utils.run.lock import FolderLock


def test_a_signal_just_when_the_note_is_written_leaves_no_note(tmp_path, monkeypatch):
    write = lock.write_atomically

    def write_and_stop(*arguments):
        write(*arguments)
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(lock, "write_atomically", write_and_stop)
        with pytest.raises(Interrupted):
            FolderLock(tmp_path).acquire()
    assert not (tmp_path / "held_by.txt").exists()
    later = FolderLock(tmp_path)
    later.acquire()
    assert later.is_ours
    later.release()
