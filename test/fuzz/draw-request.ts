import { toBinary, toJson, type DescMethod, type JsonValue, type Message } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import fc from "fast-check";
import { Dice } from "./dice.ts";
import { encodeCall } from "./encode-call.ts";
import { encodeRest } from "./encode-rest.ts";
import type { KnownValues } from "./known-values.ts";
import { messageArbitrary, type MessageOptions } from "./message-arbitrary.ts";
import { spoilBytes, spoilJson } from "./spoil.ts";
import { doors, type Content, type Door, type WireRequest } from "./wire-request.ts";

export interface Draw {
  readonly request: WireRequest;
  /** Of a well-formed request: the rules of the contract that its messages break. */
  readonly broken: readonly string[] | undefined;
  /** Of a call that says so: how long it may have to wait for its answer, in ms. */
  readonly waitMs: number;
}

const moreMessages = 4;
/** Somebody who waits for longer than this is not waited for. */
const shortWaitMs = 50;

/** Makes requests: the same one for the same seed, as long as the system under test tells the same. */
export class RequestSource {
  readonly #methods: readonly DescMethod[];
  readonly #doors: readonly Door[];
  readonly #known: KnownValues;
  readonly #special: MessageOptions["special"];
  readonly #validator = createValidator();
  readonly #messages = new Map<string, fc.Arbitrary<Message>>();

  constructor(
    methods: readonly DescMethod[],
    known: KnownValues,
    special: MessageOptions["special"],
    chosenDoors: readonly Door[] = doors,
  ) {
    this.#methods = methods;
    this.#known = known;
    this.#doors = chosenDoors;
    this.#special = special;
  }

  draw(seed: number): Draw {
    const dice = new Dice(seed);
    const method = dice.pick(this.#methods);
    const door = dice.pick(this.#doors);
    const binary = door !== "rest" && dice.percent(60);
    const lawfully = dice.percent(60);
    const count = method.methodKind === "client_streaming" ? 1 + dice.below(moreMessages) : 1;
    const messages = Array.from({ length: count }, () => this.#message(method, lawfully, dice.bits()));
    const texts = messages.map((message) => jsonOf(method, message));
    const spoilt = dice.percent(25);
    const plain = messages.map((message, at) =>
      binary ? toBinary(method.input, message) : JSON.stringify(texts[at] ?? {}),
    );
    const content: Content = {
      binary,
      fields: (texts[0] ?? {}) as Record<string, unknown>,
      messages: spoilt
        ? plain.map((one, at) => (typeof one === "string" ? spoilJson(texts[at] ?? {}, dice) : spoilBytes(one, dice)))
        : plain,
    };
    const odd = dice.percent(20);
    const request =
      door === "rest" ? encodeRest(method, content, dice, odd) : encodeCall(door, method, content, dice, odd);
    const sound = !spoilt && !odd && (binary || !texts.includes(undefined));
    const waits = messages.map((message) => (message as { waitMs?: number }).waitMs ?? 0);
    return {
      request: spoilt ? { ...request, faults: [...request.faults, "spoilt"] } : request,
      broken: sound ? messages.flatMap((message) => this.#brokenRules(method, message)) : undefined,
      // What was spoilt may say anything.
      waitMs: spoilt ? shortWaitMs + 1 : Math.max(...waits),
    };
  }

  #message(method: DescMethod, lawful: boolean, seed: number): Message {
    const key = `${method.parent.typeName}/${method.name} ${lawful}`;
    let arbitrary = this.#messages.get(key);
    if (arbitrary === undefined) {
      const known: MessageOptions["known"] = (field, index) =>
        this.#known.pick(method.parent.name, field.name, new Dice(index));
      arbitrary = messageArbitrary(method.input, { lawful, known, special: this.#special });
      this.#messages.set(key, arbitrary);
    }
    const [message] = fc.sample(arbitrary, { numRuns: 1, seed: seed | 0 });
    if (message === undefined) throw new Error("nothing was drawn");
    return message;
  }

  #brokenRules(method: DescMethod, message: Message): string[] {
    const result = this.#validator.validate(method.input, message);
    return result.kind === "valid" ? [] : [String(result.error)];
  }
}

/** Undefined where a message has no JSON form. */
function jsonOf(method: DescMethod, message: Message): JsonValue | undefined {
  try {
    return toJson(method.input, message);
  } catch {
    return undefined;
  }
}
