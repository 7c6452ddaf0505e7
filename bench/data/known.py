"""Data sets of the field: how large, on what terms, from whom, and which command prepares them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A public data set.

    Args:
        name: as papers call it.
        use: train or test.
        size: images and people, or pairs.
        terms: of use, in short; the source's own words count.
        source: where to ask.
        prepare: the command or configuration that makes it usable here.
    """

    name: str
    use: str
    size: str
    terms: str
    source: str
    prepare: str


_RESEARCH = "non-commercial research"
_ZOO = "insightface, recognition/_datasets_ (aligned, 112 px)"

# Sizes as their authors or insightface's list of data sets give them.
KNOWN_SETS = (
    KnownSet(
        "LFW",
        "test",
        "13,233 images, 5,749 people; 6,000 pairs",
        "research; photographs from the news, whose rights are their owners'",
        "figshare, as scikit-learn names it (the original site is gone)",
        "bench data fetch lfw",
    ),
    KnownSet(
        "CFP-FP",
        "test",
        "7,000 images, 500 people; 7,000 pairs, frontal against profile",
        _RESEARCH,
        f"http://www.cfpw.io; or cfp_fp.bin of {_ZOO}",
        "protocol: {name: cfp_fp, root: cfp_fp.bin}",
    ),
    KnownSet(
        "AgeDB",
        "test",
        "16,488 images, 568 people; AgeDB-30: 6,000 pairs 30 years apart",
        f"{_RESEARCH}, on request",
        f"https://ibug.doc.ic.ac.uk/resources/agedb/; or agedb_30.bin of {_ZOO}",
        "protocol: {name: agedb_30, root: agedb_30.bin}",
    ),
    KnownSet(
        "CASIA-WebFace",
        "train",
        "494,414 images, 10,575 people; 17 of them are in LFW too",
        f"{_RESEARCH}, on request",
        f"its authors (CBSR, Beijing); or {_ZOO}",
        "bench data pack faces_webface_112x112 casia_112 --size 112",
    ),
    KnownSet(
        "CelebA",
        "train",
        "202,599 images, 10,177 people",
        f"{_RESEARCH}; identities on request",
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "bench data pack celeba/ celeba_112 --size 112   (sorted into IDENTITY/ first)",
    ),
    KnownSet(
        "VGGFace2",
        "train",
        "3.31 million images, 9,131 people (8,631 to train on); 594 of them are in LFW too",
        "as its source states; no longer given out by its authors",
        f"https://www.robots.ox.ac.uk/~vgg/data/vgg_face2/; or {_ZOO}",
        "bench data pack vggface2/train vggface2 --format parquet",
    ),
    KnownSet(
        "MS1M (MS1MV2, MS1M-ArcFace)",
        "train",
        "5.8 million images, 85,000 people; cleaned from MS-Celeb-1M, not of LFW's people",
        f"{_RESEARCH}; Microsoft has withdrawn the original",
        _ZOO,
        "bench data pack faces_emore ms1m --format parquet",
    ),
    KnownSet(
        "Glint360K",
        "train",
        "17.1 million images, 360,232 people",
        _RESEARCH,
        _ZOO,
        "bench data pack glint360k glint360k_packed --format parquet",
    ),
)
