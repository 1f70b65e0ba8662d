"""fal's hosts, the path under which each is served here, and the addresses to tell a client by the way it came."""

from dataclasses import dataclass

ENDPOINT = "fal-ai/qwen-image-layered"

PLACES = {
    "fal.run": "/run",
    "queue.fal.run": "/queue",
    "rest.fal.ai": "/rest",
    "v3.fal.media": "/media",
    "api.fal.ai": "/platform",
}
"""The hosts that clients know by heart. No other is answered for, and none is ever called."""


@dataclass(frozen=True)
class Way:
    """How a client came in, as the addresses that it can go on with: of its requests, and of files."""

    queue: str
    media: str

    @staticmethod
    def by(origin: str) -> "Way":
        """For a client that knows the API's own address, such as http://127.0.0.1:4000."""
        return Way(origin + PLACES["queue.fal.run"], origin + PLACES["v3.fal.media"])


AS_FAL = Way("https://queue.fal.run", "https://v3.fal.media")
"""For a client that believes it speaks with fal."""
