"""Packaging; what the package is and needs stands in setup.cfg."""

import gzip
import io
import os
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """Makes archives whose bytes depend only on files and ``SOURCE_DATE_EPOCH``."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **options):
        """Make a ``.tar.gz`` without times, users and umasks of this machine."""
        moment = os.environ.get("SOURCE_DATE_EPOCH")
        if moment is None or format != "gztar":
            return super().make_archive(
                base_name, format, root_dir, base_dir, **options
            )
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            root = Path(root_dir or ".")
            for path in sorted([root / base_dir, *(root / base_dir).rglob("*")]):
                entry = tar.gettarinfo(path, path.relative_to(root).as_posix())
                entry.mtime, entry.uid, entry.gid = int(moment), 0, 0
                entry.uname = entry.gname = ""
                entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                if entry.isfile():
                    with path.open("rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)
        name = f"{base_name}.tar.gz"
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(moment)) as archive,
        ):
            archive.write(packed.getvalue())
        return name


setup(cmdclass={"sdist": ReproducibleSdist})
