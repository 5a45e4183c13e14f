"""Lists the downloads: a table of data and checkpoints with address, size, checksum and licence."""

from dataclasses import dataclass

__all__ = [
    "DATA",
    "PAGE_STARTS",
    "SOURCES",
    "VOST",
    "ZOO",
    "Publication",
    "Source",
    "find_source",
    "format_size",
    "how_to_get",
]

NOT_STATED = "not stated"
# How a web page begins that a server sent instead of a file; neither data nor weights begin like this.
PAGE_STARTS = (b"<!doctype", b"<html", b"<?xml")
_KILO = 1000


@dataclass(frozen=True)
class Publication:
    """Describes a paper or project that publishes files: its title, its page, and the files' licence."""

    title: str
    page: str
    licence: str = NOT_STATED

    def __str__(self) -> str:
        return f"{self.title}, {self.page}"


@dataclass(frozen=True)
class Source:
    """Describes a file that can be downloaded.

    Attributes:
        name: the file's name in the folder of checkpoints or datasets.
        purpose: a few words on what the file is for.
        publication: who publishes it.
        url: its address, unless it is on Google Drive.
        drive_id: its id on Google Drive. A file with neither can only be fetched by hand.
        size: in bytes; None if not published.
        sha256: the checksum or its first digits; empty if not published.
        unpacks_to: the folder of an archive's content, next to the archive. Empty for a checkpoint.
    """

    name: str
    purpose: str
    publication: Publication
    url: str = ""
    drive_id: str = ""
    size: int | None = None
    sha256: str = ""
    unpacks_to: str = ""

    @property
    def address(self) -> str:
        """Returns the address for a browser."""
        drive = f"https://drive.google.com/file/d/{self.drive_id}/view" if self.drive_id else ""
        return self.url or drive or self.publication.page

    @property
    def can_be_fetched(self) -> bool:
        """Returns False for a file that must be fetched by hand from its page."""
        return bool(self.url or self.drive_id)

    @property
    def size_text(self) -> str:
        """Returns the size in readable form."""
        return format_size(self.size) if self.size is not None else f"size {NOT_STATED}"


def format_size(size: int) -> str:
    """Formats a number of bytes, such as 54.0 GB."""
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < _KILO:
            return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} GB"


VOST = Publication(
    'Breaking the "Object" in Video Object Segmentation (VOST)',
    "https://www.vostdataset.org",
    "CC BY-NC-SA 4.0",
)
_BESIDE_VOST = Publication(VOST.title, VOST.page)  # the licence is for the videos, none is stated for weights
EMFS = Publication(
    "Minimising Redundancy, Maximising Relevance: Efficient Memory Feature Selection for Video Object "
    "Segmentation (EMFS)",
    "https://github.com/Shine-nuc/EMFS",
)
RMEM = Publication(
    "RMem: Restricted Memory Banks Improve Video Object Segmentation",
    "https://github.com/Restricted-Memory/RMem",
)
ZOO = Publication(
    "The AOT benchmark's model zoo", "https://github.com/yoxu515/aot-benchmark/blob/main/MODEL_ZOO.md"
)
_TORCHVISION = Publication("torchvision's ImageNet weights", "https://download.pytorch.org/models")
_RESNEST = Publication("ResNeSt", "https://github.com/zhanghang1989/ResNeSt")
_SWIN = Publication("Swin Transformer", "https://github.com/microsoft/Swin-Transformer")
_SWIN_FILES = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0"

_VOST_FILES = "https://tri-ml-public.s3.amazonaws.com/datasets"
_ZOO_PURPOSE = "YouTube-VOS and DAVIS; to evaluate or train from"

# Names of datasets in commands, and their archives in the table.
DATA = {"vost": "VOST.zip"}


def _torchvision(name: str, models: str) -> Source:
    """Describes an encoder's weights, whose file name ends in the first digits of the SHA-256."""
    digits = name.removesuffix(".pth").rpartition("-")[2]
    return Source(name, f"encoder of {models}", _TORCHVISION, f"{_TORCHVISION.page}/{name}", sha256=digits)


def _on_drive(publication: Publication, name: str, purpose: str, drive_id: str) -> Source:
    return Source(name, purpose, publication, drive_id=drive_id)


_ALL = (
    Source(
        "VOST.zip",
        "VOST: train, val, test without masks",
        VOST,
        f"{_VOST_FILES}/VOST.zip",
        size=54_012_104_924,
        unpacks_to="VOST",
    ),
    Source("aotplus.pth", "AOT+ of VOST's authors", _BESIDE_VOST, f"{_VOST_FILES}/aotplus.pth"),
    Source("pre_ytb.pth", "beside VOST.zip; purpose not stated", _BESIDE_VOST, f"{_VOST_FILES}/pre_ytb.pth"),
    _on_drive(EMFS, "R50_AOTL.pth", "row 1, AOT*: 39.0 / 50.4", "1kZgtsdZGRdWxQ4_taAS6C_NGDcn9ufYi"),
    Source(
        "AOT_EMFS.pth", "row 2, AOT* + EMFS: 42.8 / 51.6", EMFS, drive_id="16geEhjPXVTqy0guwODaqi96JAOcgaA6Z"
    ),
    Source(
        "R50_DeAOTL.pth", "row 3, DeAOT*: 39.5 / 51.7", EMFS, drive_id="1PY8Ns8X-V24eiklifgVcdiAC748IIWCJ"
    ),
    Source(
        "DeAOT_EMFS.pth",
        "row 4, DeAOT* + EMFS: 41.9 / 52.6",
        EMFS,
        drive_id="1Y16_Ef2kJIhZrUSc7tdp6mYlnVpEezVJ",
    ),
    # RMem's files have no published names: these are chosen by this project.
    _on_drive(RMEM, "RMem_AOT.pth", "AOT + RMem: 39.8 / 50.5", "1_Wp-zXw2u9zIWRJLYCw-TGaVOKGFaVb_"),
    _on_drive(RMEM, "RMem_DeAOT.pth", "DeAOT + RMem: 40.4 / 51.8", "1jMqSOuF5t_W6U7UrKdaX6SH42GSnc78-"),
    _on_drive(RMEM, "RMem_AOT_without.pth", "AOT: 37.0 / 49.2", "1fHS5txnxRwaVCoYWSnIJfUgor8ru07NG"),
    Source(
        "RMem_DeAOT_without.pth", "DeAOT: 37.6 / 51.0", RMEM, drive_id="1edAk8O2PWRS4jpD3m8K_H1kmj89VF-sd"
    ),
    _on_drive(ZOO, "R50_AOTL_PRE_YTB_DAV.pth", _ZOO_PURPOSE, "1qJDYn3Ibpquu4ffYoQmVjg1YCbr2JQep"),
    Source(
        "R50_DeAOTL_PRE_YTB_DAV.pth",
        _ZOO_PURPOSE,
        ZOO,
        drive_id="1QoChMkTVxdYZ_eBlZhK2acq9KMQZccPJ",
        size=236_513_959,
        sha256="7e8a8d83310739bac02817f6bf48b6bbe2bbd7d5325722f1084088eb3aee1e06",  # by a third party
    ),
    _on_drive(ZOO, "SwinB_AOTL_PRE_YTB_DAV.pth", _ZOO_PURPOSE, "192jCGQZdnuTsvX-CVra-KVZl2q1ZR0vW"),
    _on_drive(ZOO, "SwinB_DeAOTL_PRE_YTB_DAV.pth", _ZOO_PURPOSE, "1g4E-F0RPOx9Nd6J7tU9AE1TjsouL4oZq"),
    # Only the page that lists these is known, not their addresses.
    *(
        Source(f"{name}_PRE_YTB_DAV.pth", _ZOO_PURPOSE, ZOO)
        for name in ("AOTT", "AOTS", "AOTB", "AOTL", "DeAOTT", "DeAOTS", "DeAOTB", "DeAOTL")
    ),
    Source("R50_DeAOTL_PRE.pth", "static images; to train from", ZOO),
    _torchvision("resnet50-0676ba61.pth", "r50_..."),
    _torchvision("resnet101-63fe2227.pth", "r101_aotl"),
    _torchvision("mobilenet_v2-b0353104.pth", "aott to aotl, deaott to deaotl"),
    Source("resnest101-22405ba7.pth", "encoder of rs101_aotl", _RESNEST),
    Source(
        "swin_base_patch4_window7_224_22k.pth",
        "encoder of swinb_...",
        _SWIN,
        f"{_SWIN_FILES}/swin_base_patch4_window7_224_22k.pth",
    ),
)
SOURCES = {source.name: source for source in _ALL}


def find_source(name: str) -> Source | None:
    """Finds a file by its name, or a dataset by its name in commands; None if it is not listed."""
    return SOURCES.get(DATA.get(name, name))


def how_to_get(name: str) -> str:
    """Explains how to get a missing file or dataset: the command, the paper's title and its page."""
    source = find_source(name)
    if source is None:
        return f"python -m aot_plus download lists the published files; others of AOT are on {ZOO.page}"
    if not source.can_be_fetched:
        return f"get it by hand: {source.publication}"
    return f"python -m aot_plus download {name} gets it from {source.address} (of: {source.publication})"
