"""Kuzushiji-MNIST, cursive Japanese characters in the format of MNIST."""

from utils.data.dataset import DataSet
from utils.data.idx import idx_files, read_four

SPEC = DataSet(
    name="kmnist",
    title="Kuzushiji-MNIST, cursive Japanese characters",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=255,
    source="http://codh.rois.ac.jp/kmnist/ (Clanuwat et al. 2018)",
    licence="CC BY-SA 4.0",
    split_rule="validation: the last 10,000 of the training file; test: the test file",
    read=read_four,
    files=idx_files(
        "KMNIST",
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        (  # The source states neither sizes nor what the decompressed content is.
            (None, "bdb82020997e1d708af4cf47b453dcf7", ""),
            (None, "e144d726b3acfaa3e44228e80efcd344", ""),
            (None, "5c965bf0a639b31b8f53240b1b52f4d7", ""),
            (None, "7320c461ea6c1c855c0b718fb2a4b134", ""),
        ),
    ),
    splits=(50000, 10000, 10000),
    classes=10,
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)
