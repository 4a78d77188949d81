"""`kmnist`: cursive Japanese characters of 28x28 pixels, 60,000 for training, 10,000 for test.

Kuzushiji-MNIST, Clanuwat et al. 2018, https://github.com/rois-codh/kmnist (CC BY-SA 4.0). MD5 of
the downloads as torchvision has them.
"""

from __future__ import annotations

from normlab.data.idx import IdxFile, IdxSet

FILES = {
    "train_images": IdxFile(
        "train-images-idx3-ubyte",
        3,
        "md5:92be26ec9822e900ac425d0a0aa84ced",
        "bdb82020997e1d708af4cf47b453dcf7",
    ),
    "train_labels": IdxFile(
        "train-labels-idx1-ubyte",
        1,
        "md5:949e75301f8813e0dc5800dcc320fc52",
        "e144d726b3acfaa3e44228e80efcd344",
    ),
    "test_images": IdxFile(
        "t10k-images-idx3-ubyte",
        3,
        "md5:bf305b8cd328700fbc17f5acbc2856d2",
        "5c965bf0a639b31b8f53240b1b52f4d7",
    ),
    "test_labels": IdxFile(
        "t10k-labels-idx1-ubyte",
        1,
        "md5:9f55f451c0988b028eccdf7d5cc265ab",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}

KMNIST = IdxSet(
    name="kmnist",
    url="https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    files=FILES,
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
)
