"""A little of everything that clients do, so that every metric moves."""

import json
import threading
import time
from datetime import datetime, timezone

from system import get

TOKEN = {"Authorization": "Bearer local-only"}
JSON = {**TOKEN, "Content-Type": "application/json"}
NDJSON = {**TOKEN, "Content-Type": "application/x-ndjson"}
PAUSE = 0.05


def today():
    return datetime.now(timezone.utc).strftime("%Y%m%d")


def purchase(store, item, **more):
    return {"storeID": store, "custID": 1, "date": today(), "items": [{"ItemID": item, "numberOfItems": 1}], **more}


class Load(threading.Thread):
    """Sends to `post` and asks `ask`, (address, port) each, until it is stopped."""

    def __init__(self, post, ask):
        super().__init__(daemon=True)
        self.post, self.ask = post, ask
        self.stopped = threading.Event()
        self.failure = None

    def run(self):
        try:
            for turn in range(10**9):
                if self.stopped.is_set():
                    return
                self.turn(turn)
                time.sleep(PAUSE)
        except Exception as error:
            self.failure = error

    def stop(self):
        self.stopped.set()
        self.join()
        if self.failure:
            raise self.failure

    def turn(self, turn):
        store, item = turn % 50, turn % 7
        body = json.dumps({"items": [{"ItemID": str(item), "numberOfItems:": 2}]})
        path = f"/purchase/{store}/customer/1/date/{today()}"
        status, *_ = get(*self.post, path, {**JSON, "Idempotency-Key": f"key-{turn // 2}"}, "POST", body)
        assert status in (201, 503), status
        lines = [purchase(store + i, item) for i in range(20)] + [{"storeID": -1}]
        bulk = "\n".join(map(json.dumps, lines))
        status, _, answer = get(*self.post, "/v1/purchases", NDJSON, "POST", bulk)
        assert status in (200, 503), (status, answer)
        for path in (
            f"/items/store/{store}", f"/items/top10/{item}", f"/v1/stores/{store}/top-items?window=1h",
            f"/v1/items/{item}/top-stores?window=day", "/v1/top-items", "/v1/top-stores?window=5m",
            "/items/store/4000000", "/openapi.json",
        ):
            get(*self.ask, path)
