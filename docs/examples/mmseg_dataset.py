"""Any data set class of MMSegmentation as a pool, with simulated clicks.

custom_imports = dict(imports=["mmseg_dataset"])
data = dict(type="mmseg", train=dict(type="ADE20KDataset", ...), val=dict(type="ADE20KDataset", ...))
"""

from pathlib import Path

from mmseg.registry import DATASETS

from harness.data.cityscapes import ImageFiles
from harness.data.masks import MaskLayout, MaskSplit
from harness.data.source import register_dataset


class MMSegSplit(MaskSplit):
    """The images that an mmseg data set lists; ``reduce_zero_label`` as there."""

    def __init__(self, config, name, cache):
        self.dataset = DATASETS.build({**config, "pipeline": [], "_scope_": "mmseg"})
        shift = int(self.dataset.reduce_zero_label)
        names = dict(enumerate(self.dataset.metainfo["classes"], shift))
        root = Path(self.dataset.data_root or ".")
        super().__init__(
            root, name, cache, MaskLayout(images=".", labels=str(config), classes=names)
        )

    def _find(self):
        found = {}
        for number in range(len(self.dataset)):
            item = self.dataset.get_data_info(number)
            photo, label = Path(item["img_path"]), Path(item["seg_map_path"])
            found[photo.stem] = ImageFiles(photo, label, label, label.parent / "none")
        return dict(sorted(found.items()))


@register_dataset("mmseg")
def open_mmseg(cache, train, val):
    """Open both splits."""
    return MMSegSplit(train, "train", cache), MMSegSplit(val, "val", cache)
