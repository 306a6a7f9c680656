import assert from "node:assert/strict";
import { createServer } from "node:http2";
import { once } from "node:events";
import { connect, type AddressInfo } from "node:net";
import { test } from "node:test";
import { FRAME, FrameReader, MessageReader, encodeFrame, messageFrame, openCall } from "./frames.ts";

test("bench frames - frames and messages are read however the bytes are torn", () => {
  const messages = [Buffer.from("first"), Buffer.alloc(0), Buffer.alloc(300, "x")];
  const bytes = Buffer.concat(messages.map((message) => messageFrame(message)));
  for (const size of [1, 7, 64, bytes.length]) {
    const frames = new FrameReader();
    const reader = new MessageReader();
    const read: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      for (const { payload } of frames.read(bytes.subarray(at, at + size))) read.push(...reader.read(payload));
    }
    assert.deepEqual(read, messages, `chunks of ${size}`);
  }
});

test("bench frames - one message may come in several frames", () => {
  const whole = new FrameReader().read(messageFrame(Buffer.from("a message")))[0]?.payload ?? Buffer.alloc(0);
  const reader = new MessageReader();
  assert.deepEqual(reader.read(whole.subarray(0, 3)), []);
  assert.deepEqual(reader.read(whole.subarray(3)), [Buffer.from("a message")]);
});

test("bench frames - a server of Node takes the call", async () => {
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify([headers[":method"], headers[":path"], headers["content-type"], headers["te"]]));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write(openCall("/relay.v1.RelayService/Connect"));
  const reader = new FrameReader();
  let body = "";
  for await (const chunk of socket) {
    const frames = reader.read(chunk as Buffer);
    body += frames
      .filter(({ type }) => type === FRAME.data)
      .map(({ payload }) => payload.toString())
      .join("");
    if (body.endsWith("]")) break;
  }
  assert.deepEqual(JSON.parse(body), ["POST", "/relay.v1.RelayService/Connect", "application/grpc", "trailers"]);
  socket.destroy();
  server.close();
});

test("bench frames - a frame is written as it is read", () => {
  const frame = { type: FRAME.ping, flags: 1, stream: 0, payload: Buffer.from("12345678") };
  assert.deepEqual(new FrameReader().read(encodeFrame(frame)), [frame]);
});
