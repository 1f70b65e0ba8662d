// Preloaded into Node by “unflatten fal-env”: what a program asks of fal's hosts goes to the bridge on this computer.
// Other hosts are asked as ever.
"use strict";

const PLACES = {
  "fal.run": "/run",
  "queue.fal.run": "/queue",
  "rest.fal.ai": "/rest",
  "v3.fal.media": "/media",
  "api.fal.ai": "/platform",
};

const base = process.env.UNFLATTEN_FAL_URL;
const usual = globalThis.fetch;

// The same address at the bridge; undefined for any other host's.
function led(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return undefined; // fetch itself says what is wrong with it
  }
  const place = url.protocol === "https:" && url.port === "" ? PLACES[url.hostname] : undefined;
  return place === undefined ? undefined : base + place + url.pathname + url.search;
}

if (base && typeof usual === "function") {
  globalThis.fetch = function fetch(resource, options) {
    if (resource instanceof Request) {
      const there = led(resource.url);
      return usual.call(this, there === undefined ? resource : new Request(there, resource), options);
    }
    return usual.call(this, led(String(resource)) ?? resource, options);
  };
}
