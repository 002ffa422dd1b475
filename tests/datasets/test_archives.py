import contextlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from aiplat.datasets.archives import Limits, unpack, unpacked
from aiplat.errors import DataError

ROOMY = Limits()


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    member.size = 1 if kind == tarfile.REGTYPE else 0
    return member


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "a\\..\\..\\evil.txt", "C:/evil.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_lead_outside_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "zip":
        archive = zip_of(tmp_path / "a.zip", ("fine.txt", b"x"), (name, b"x"))
    else:
        archive = tar_of(tmp_path / "a.tar.gz", tar_member("fine.txt"), tar_member(name))
    target = tmp_path / "in/target"
    target.mkdir(parents=True)
    with pytest.raises(DataError, match="leads outside"):
        unpack(archive, target, ROOMY)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_of(tmp_path / "a.tgz", tar_member("odd", kind, link="/etc/passwd"))
    with pytest.raises(DataError, match="'odd' is a link or a device"):
        unpack(archive, tmp_path / "target", ROOMY)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("odd")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'odd' is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "target", ROOMY)


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("zeros", b"\0" * (100 << 20)))
    with pytest.raises(DataError, match="far more than its own size"):
        unpack(archive, tmp_path / "target", ROOMY)
    with pytest.raises(DataError, match="far more than its own size"):
        unpack(archive, tmp_path / "other", Limits(max_bytes=1000))


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", *((str(number), b"x") for number in range(5)))
    with pytest.raises(DataError, match="too many files"):
        unpack(archive, tmp_path / "target", Limits(max_files=4))


def test_a_member_cannot_replace_another(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", tar_member("a"), tar_member("a"))
    with pytest.raises(DataError, match="two members of one name"):
        unpack(archive, tmp_path / "target", ROOMY)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_a_damaged_archive_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all")
    with pytest.raises(DataError, match="no archive that can be unpacked"):
        unpack(tmp_path / name, tmp_path / "target", ROOMY)


def test_a_cut_off_archive_says_so(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tgz", *(tar_member(f"{number}") for number in range(500)))
    (tmp_path / "b.tgz").write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(DataError, match="no archive that can be unpacked"):
        unpack(tmp_path / "b.tgz", tmp_path / "target", ROOMY)


def test_the_folder_vanishes_also_when_something_fails(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("ü/1 2.txt", b"x"))
    seen = {}
    with (
        contextlib.suppress(RuntimeError),
        unpacked({"path": str(archive), "other": 1}, str(tmp_path)) as node,
    ):
        seen = {**node, "data": (Path(node["path"]) / "ü/1 2.txt").read_bytes()}
        raise RuntimeError
    assert (seen["other"], seen["data"]) == (1, b"x")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_empty_folders_are_kept(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a/b/", b""))
    unpack(archive, tmp_path / "zip", ROOMY)
    other = tar_of(
        tmp_path / "a.tar", tar_member(".", tarfile.DIRTYPE), tar_member("a/b", tarfile.DIRTYPE)
    )
    unpack(other, tmp_path / "tar", ROOMY)
    assert (tmp_path / "zip/a/b").is_dir()
    assert (tmp_path / "tar/a/b").is_dir()


def test_a_folder_that_leads_outside_is_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", tar_member("../evil", tarfile.DIRTYPE))
    with pytest.raises(DataError, match="leads outside"):
        unpack(archive, tmp_path / "in/target", ROOMY)
    assert not list(tmp_path.rglob("*evil*"))


def test_what_is_no_archive_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    for arguments in ({"path": str(tmp_path)}, {"path": str(tmp_path / "folder.zip")}, {}):
        with unpacked(arguments, str(tmp_path / "storage")) as node:
            assert node == arguments
    assert not (tmp_path / "storage").exists()
