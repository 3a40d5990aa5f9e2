"""Any data set class of MMSegmentation as a pool, with simulated clicks.

custom_imports = dict(imports=["mmseg_dataset"])
data = dict(type="mmseg", train=dict(type="ADE20KDataset", ...), val=dict(type="ADE20KDataset", ...))
"""

from collections import Counter
from pathlib import Path

from mmseg.registry import DATASETS

from harness.data.cityscapes import ImageFiles
from harness.data.files import id_of
from harness.data.masks import MaskLayout, MaskSplit
from harness.data.source import register_dataset


class MMSegSplit(MaskSplit):
    """The images that an mmseg data set lists; labels mean what its own loading makes of them."""

    def __init__(self, config, name, cache):
        self.dataset = DATASETS.build({**config, "pipeline": [], "_scope_": "mmseg"})
        shift = int(self.dataset.reduce_zero_label)
        names = self.dataset.metainfo["classes"]
        numbers = self.dataset.label_map or {number: number for number in range(len(names))}
        void = {255, self.dataset.ignore_index}
        stored = {new: old + shift for old, new in numbers.items() if new not in void}
        classes = {stored[number]: names[number] for number in sorted(stored)}
        root = Path(self.dataset.data_root or ".")
        super().__init__(
            root, name, cache, MaskLayout(images=".", labels=str(config), classes=classes)
        )

    def _find(self):
        items = [self.dataset.get_data_info(number) for number in range(len(self.dataset))]
        folder = Path(self.dataset.data_prefix["img_path"])
        stems = Counter(Path(item["img_path"]).stem for item in items)
        found = {}
        for item in items:
            photo, label = Path(item["img_path"]), Path(item["seg_map_path"])
            key = photo.stem if stems[photo.stem] == 1 else id_of(photo, folder)
            if key in found:
                self.problems.append(f"{photo}: two photographs must not share a name")
            found[key] = ImageFiles(photo, label, label, label.parent / "none")
        return dict(sorted(found.items()))


@register_dataset("mmseg")
def open_mmseg(cache, train, val):
    """Open both splits."""
    return MMSegSplit(train, "train", cache), MMSegSplit(val, "val", cache)
