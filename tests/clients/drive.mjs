// @fal-ai/client, driven over lines of JSON: {call, with} in, {value} or {error} out.
// The argument says how it finds our API: plain (it does not know that there is one), proxy, or middleware.

import { createInterface } from "node:readline";
import { openAsBlob } from "node:fs";
import { createFalClient } from "@fal-ai/client";

const ENDPOINT = "fal-ai/qwen-image-layered";
const PLACES = { "fal.run": "run", "queue.fal.run": "queue", "rest.fal.ai": "rest" };
const OURS = process.env.UNFLATTEN_URL;

function led(request) {
  const url = new URL(request.url);
  return Promise.resolve({ ...request, url: `${OURS}/${PLACES[url.hostname]}${url.pathname}${url.search}` });
}

const WAYS = {
  plain: {},
  proxy: { proxyUrl: { url: `${OURS}/api/fal/proxy`, when: "always" } },
  middleware: { requestMiddleware: led },
};

async function whole(stream) {
  const events = [];
  const done = stream.done();
  done.catch(() => {}); // told below: the loop itself ends in silence
  for await (const event of stream) events.push(event);
  await done;
  return events;
}

async function perform(call, given) {
  const { key, endpoint = ENDPOINT, ...rest } = given;
  const fal = createFalClient({ ...WAYS[process.argv[2]], ...(key ? { credentials: key } : {}) });
  switch (call) {
    case "run":
      return (await fal.run(endpoint, options(rest))).data;
    case "submit":
      return (await fal.queue.submit(endpoint, options(rest))).request_id;
    case "status":
      return fal.queue.status(endpoint, { requestId: rest.request, logs: rest.logs });
    case "result":
      return (await fal.queue.result(endpoint, { requestId: rest.request })).data;
    case "cancel":
      return (await fal.queue.cancel(endpoint, { requestId: rest.request })) ?? null;
    case "events":
      return whole(await fal.queue.streamStatus(endpoint, { requestId: rest.request, logs: true }));
    case "subscribe": {
      const updates = [];
      let enqueued;
      const result = await fal.subscribe(endpoint, {
        ...options(rest),
        logs: true,
        onEnqueue: (id) => (enqueued = id),
        onQueueUpdate: (update) => updates.push(structuredClone(update)),
      });
      return { result: result.data, updates, request: enqueued, told: result.requestId };
    }
    case "stream":
      return whole(await fal.stream(endpoint, { input: rest.input }));
    case "upload":
      return fal.storage.upload(new File([Buffer.from(rest.content, "base64")], rest.name, { type: rest.type }));
    case "upload_expiring":
      return fal.storage.upload(new File([Buffer.from(rest.content, "base64")], "short.png", { type: "image/png" }), {
        lifecycle: { expiresIn: rest.seconds },
      });
    case "upload_file":
      return fal.storage.upload(await openAsBlob(rest.path, { type: "image/png" }));
    case "blob": {
      const blob = new Blob([Buffer.from(rest.content, "base64")], { type: "image/png" });
      return (await fal.run(endpoint, { input: { ...rest.input, image_url: blob } })).data;
    }
    case "fetch": {
      const answer = await fetch(rest.url);
      if (!answer.ok) throw Object.assign(new Error(), { status: answer.status, body: await answer.json() });
      return Buffer.from(await answer.arrayBuffer()).toString("base64");
    }
    default:
      throw new Error(`not implemented: ${call}`);
  }
}

// Python's names for what both clients can be asked.
function options({ start_timeout, webhook_url, input, ...rest }) {
  return { input, startTimeout: start_timeout, webhookUrl: webhook_url, ...rest };
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await perform(order.call, order.with)) ?? null };
  } catch (error) {
    const body = error.body ?? `${error.name}: ${error.message} ${error.cause ?? ""}`;
    answer = { error: { status: error.status ?? 0, body, "request-id": error.requestId ?? null } };
  }
  console.log(JSON.stringify(answer));
}
