import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { expect, it } from "vitest";
import { ResultInbox } from "./result-inbox.ts";

it("has room for others, however many results one owner waits for", async () => {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "inbox-test" });
  using inbox = new ResultInbox(bus, 10);
  const held = [inbox.open("ada"), inbox.open("ada")];
  expect(() => inbox.open("ada")).toThrow("you wait for 2 results");
  inbox.open("eve")[Symbol.dispose]();
  // What has ended makes room, once.
  held[0]?.[Symbol.dispose]();
  held[0]?.[Symbol.dispose]();
  inbox.open("ada");
  expect(() => inbox.open("ada")).toThrow("you wait for 2 results");
  // Whom nobody names has all that is left.
  for (let n = 0; n < 8; n += 1) inbox.open("");
  expect(() => inbox.open("eve")).toThrow("10 callers wait for results");
});
