"""Pictures on their way in: which addresses may be fetched from, the guard's seventh promise, and what is opened."""

import asyncio
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from bridge import downloads
from bridge.server.fal import pictures as incoming
from bridge.server.fal.files import TooLarge
from bridge.server.fal.pictures import NotFetched, check_url, fetch
from tests.unit.trial import internet
from tests.unit.trial.client import noise
from tests.unit.trial.fal_api import Api, data_uri, flattened, huge, png, saved
from tests.unit.trial.pictures import Answer, Pictures

HOST = "pictures.example"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pictures]:
    server = Pictures(tmp_path_factory.mktemp("pictures"), HOST, "other.example")
    yield server
    server.close()


@pytest.fixture
def online(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> Pictures:
    """The server of pictures, as if it were a public one; everything else is as it is."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pictures.authority))
    monkeypatch.setattr(downloads, "_addresses", downloads._addresses)
    monkeypatch.setattr(downloads._CarefulNetwork, "__init__", downloads._CarefulNetwork.__init__)
    monkeypatch.setattr(downloads, "trusted", downloads.trusted.__wrapped__)  # not what an earlier test trusted
    internet.pretend({HOST: pictures.port, "other.example": pictures.port})
    pictures.answers.clear()
    pictures.asked.clear()
    pictures.answers["/a.png"] = Answer(png())
    return pictures


def got(path: Path, url: str) -> bytes:
    target = path / "got"
    asyncio.run(fetch(url, target))
    return target.read_bytes()


# Which addresses


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://pictures.example/a.png",
            "ftp://pictures.example/a.png",
            "file:///etc/passwd",
            "//pictures.example/a",
        ),
        *("/etc/passwd", "pictures.example/a.png", "javascript:alert(1)", "", "https://", "https:///a.png"),
        *("https://user:word@pictures.example/", "https://user@pictures.example/", "https://[::1", "https://a:99999/"),
        *("https://" + "a" * 300 + ".example/", "gopher://127.0.0.1:70/", "HTTP://pictures.example/"),
    ],
)
def test_what_is_no_public_https_address(url: str) -> None:
    with pytest.raises(NotFetched):
        check_url(url)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.0.0.1", "192.168.0.1", "169.254.169.254", "[::1]", "[fe80::1]", "0.0.0.0"),
        *("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ],
)
def test_no_way_of_writing_a_private_address_leads_there(tmp_path: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        here.settimeout(0.05)
        with pytest.raises(NotFetched):
            got(tmp_path, f"https://{host}:{here.getsockname()[1]}/a.png")
        with pytest.raises(TimeoutError):
            here.accept()


def test_a_public_picture_is_fetched(online: Pictures, tmp_path: Path) -> None:
    assert got(tmp_path, f"https://{HOST}/a.png") == png()
    online.answers["/ä%20b.png?x=1&y=%2F"] = Answer(b"never")
    online.answers["/%C3%A4%20b.png?x=1&y=%2F"] = Answer(b"yes")
    assert got(tmp_path, f"https://{HOST}/ä b.png?x=1&y=%2F") == b"yes"


def test_a_name_whose_addresses_are_not_all_public_is_refused(online: Pictures, tmp_path: Path) -> None:
    """One public address must not let a private one beside it in."""

    async def both(host: str, port: int, timeout: float | None) -> list[str]:
        return [internet.PUBLIC, "127.0.0.1"]

    downloads._addresses = both
    with pytest.raises(NotFetched, match="private network"):
        got(tmp_path, f"https://{HOST}/a.png")
    assert online.asked == []


def test_a_name_is_looked_up_once(online: Pictures, tmp_path: Path) -> None:
    """It may lead elsewhere a moment later: what was looked at is what is connected to."""
    looked_up: list[str] = []
    look_up = downloads._addresses

    async def counting(host: str, port: int, timeout: float | None) -> list[str]:
        looked_up.append(host)
        return await look_up(host, port, timeout)

    downloads._addresses = counting
    got(tmp_path, f"https://{HOST}/a.png")
    assert looked_up == [HOST]


# Redirects


@pytest.mark.parametrize(
    "location",
    [
        *("http://pictures.example/a.png", "https://127.0.0.1/a.png", "https://localhost/a.png", "file:///etc/passwd"),
        *(
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://user:word@pictures.example/",
            "//10.0.0.1/",
        ),
    ],
)
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_checked_as_the_first_address(
    online: Pictures, tmp_path: Path, location: str, status: int
) -> None:
    online.answers["/r"] = Answer(status=status, headers={"Location": location})
    with pytest.raises(NotFetched):
        got(tmp_path, f"https://{HOST}/r")
    assert online.asked == ["/r"]


def test_a_redirect_to_another_public_address_is_followed(online: Pictures, tmp_path: Path) -> None:
    online.answers["/r"] = Answer(status=302, headers={"Location": "https://other.example/s"})
    online.answers["/s"] = Answer(status=308, headers={"Location": "/a.png"})
    assert got(tmp_path, f"https://{HOST}/r") == png()


def test_redirects_have_an_end(online: Pictures, tmp_path: Path) -> None:
    online.answers["/r"] = Answer(status=302, headers={"Location": "/r"})
    with pytest.raises(NotFetched, match="without end"):
        got(tmp_path, f"https://{HOST}/r")
    assert len(online.asked) == 6


# Limits


def test_a_file_that_is_too_large_is_not_taken(
    online: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MOST_SOURCE", 100_000)
    online.answers["/big"] = Answer(b"a" * 100_001)
    with pytest.raises(TooLarge):
        got(tmp_path, f"https://{HOST}/big")
    online.answers["/big"] = Answer(b"a" * 100_000)
    assert len(got(tmp_path, f"https://{HOST}/big")) == 100_000


def test_a_slow_drip_has_an_end(online: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "FETCH_PATIENCE", 0.5)
    online.answers["/drip"] = Answer(b"a" * 1000, drip=0.05)
    with pytest.raises(NotFetched, match="did not arrive"):
        got(tmp_path, f"https://{HOST}/drip")


def test_a_file_that_breaks_off_is_told_so(online: Pictures, tmp_path: Path) -> None:
    online.answers["/short"] = Answer(b"abc", length=1000, headers={"Connection": "close"})
    with pytest.raises(NotFetched, match="does not answer as it should"):
        got(tmp_path, f"https://{HOST}/short")


@pytest.mark.parametrize("status", [204, 403, 404, 500])
def test_another_answer_than_the_picture(online: Pictures, tmp_path: Path, status: int) -> None:
    online.answers["/gone"] = Answer(status=status)
    with pytest.raises(NotFetched, match=str(status)):
        got(tmp_path, f"https://{HOST}/gone")


def test_a_server_with_a_wrong_certificate(online: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotFetched):
        got(tmp_path, f"https://{HOST}/a.png")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="cannot be reached"):
        got(tmp_path, "https://no-such-host.invalid/a.png")


def test_our_own_api_is_no_public_address(api: Api) -> None:
    """Its own files are taken from the disk; no request of a client makes the API ask itself."""
    answer = api.run(image_url=f"{api.url}/queue/fal-ai/qwen-image-layered")
    assert answer.json()["detail"][0]["type"] == "file_download_error"
    answer = api.run(image_url=f"{api.url}/media/files/{'A' * 43}/a.png")
    assert answer.json()["detail"][0]["type"] == "file_download_error"


# What can be opened

PICTURE = noise(40, 30)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG", "BMP", "GIF", "AVIF"])
def test_each_kind_of_picture(api: Api, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(PICTURE, kind, **options)
    result = api.run(image_url=data_uri(content, "application/octet-stream")).json()
    layers = [np.asarray(Image.open(fetched(api, each["url"])).convert("RGBA")) for each in result["images"]]
    if kind in ("PNG", "WEBP", "TIFF", "BMP"):
        assert np.array_equal(flattened(layers), PICTURE)
    assert {(each["width"], each["height"]) for each in result["images"]} == {(40, 30)}


def fetched(api: Api, url: str) -> BytesIO:
    return BytesIO(api.http.get(url).content)


def test_a_picture_lies_upright_as_its_camera_says(api: Api) -> None:
    image = Image.fromarray(PICTURE).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    result = api.run(image_url=data_uri(saved(np.asarray(image), "JPEG", exif=exif))).json()
    assert {(each["width"], each["height"]) for each in result["images"]} == {(30, 40)}


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16"])
def test_each_mode_of_pixels(api: Api, mode: str) -> None:
    source = Image.fromarray(PICTURE)
    if mode == "I;16":
        image = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    else:
        image = source.convert("RGB").convert(mode) if mode == "CMYK" else source.convert(mode)
    out = BytesIO()
    image.save(out, "TIFF" if mode == "CMYK" else "PNG")
    assert api.run(image_url=data_uri(out.getvalue())).status_code == 200


BROKEN = {
    "half a picture": (png(200, 200)[:3000], "image_load_error"),
    "nothing": (b"", "image_load_error"),
    "text": (b"hello", "image_load_error"),
    "a page": (b"<html></html>", "image_load_error"),
    "a drawing": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image_format"),
    "Photoshop": (b"8BPS\0\1" + bytes(30), "unsupported_image_format"),
    "PDF": (b"%PDF-1.7", "unsupported_image_format"),
    "a film": (b"\0\0\0\x18ftypmp42" + bytes(20), "unsupported_image_format"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image_load_error"),
    "one pixel": (png(1, 1), "image_too_small"),
    "three gigapixels": (huge(), "image_too_large"),
    "a long line": (huge(200_000, 64), "image_too_large"),
    "32 bits": (saved(np.zeros((30, 40), np.float32), "TIFF"), "unsupported_image_format"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_opened_is_told_in_fal_s_words(api: Api, name: str) -> None:
    content, kind = BROKEN[name]
    answer = api.run(image_url=data_uri(content))
    [told] = answer.json()["detail"]
    assert (answer.status_code, told["type"], told["loc"]) == (422, kind, ["body", "image_url"])
    for word in ("tensor", "payload", "traceback", "Pillow", "decod"):
        assert word not in told["msg"].lower()


@pytest.mark.parametrize("uri", ["data:", "data:image/png;base64", "data:image/png;base64,%%%", "data:;base64,aGk"])
def test_a_damaged_data_uri(api: Api, uri: str) -> None:
    assert api.run(image_url=uri).json()["detail"][0]["type"] == "image_load_error"


def test_a_data_uri_without_base64(api: Api) -> None:
    assert api.run(image_url="data:image/png," + quote(png())).status_code == 200


def test_pictures_of_many_files_leave_nothing_behind(api: Api) -> None:
    """Sources are erased with their job's end, of failed jobs everything is."""
    for seed in range(5):
        api.run(image_url=data_uri(png(seed=seed)))
        api.run(image_url=data_uri(png(seed=seed)[:100]))
    left = {path.name for path in (api.bridge.data / "jobs").rglob("*") if path.is_file()}
    assert not {name for name in left if name.startswith(("source", "picture")) or name.endswith(".part")}
