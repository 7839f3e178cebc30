import wabt from "wabt";
import { Gauge, meter, ModuleRefused } from "../src/index.ts";
import { headOf, type ListNode, type Node } from "./s-expressions.ts";

type Wabt = Awaited<ReturnType<typeof wabt>>;

const FUEL = 1e12;
const features = Object.fromEntries(
  [
    "exceptions mutable_globals sat_float_to_int sign_extension simd",
    "multi_value tail_call bulk_memory reference_types extended_const",
  ].flatMap((line) => line.split(" ").map((name) => [name, true])),
);

/** An instance as it is, and the same module metered. */
interface Pair {
  readonly plain: WebAssembly.Exports;
  readonly metered: WebAssembly.Exports;
  readonly gauge: Gauge;
}

/** Runs the commands of one script on both. */
export class SpecWorld {
  modules = 0;
  calls = 0;
  readonly refusals: string[] = [];
  readonly differences: string[] = [];
  readonly #wabt: Wabt;
  readonly #plainImports: WebAssembly.Imports;
  readonly #meteredImports: WebAssembly.Imports;
  readonly #named = new Map<string, Pair>();
  /** What registered modules of the metered world are charged on. */
  readonly #gauges: Gauge[] = [];
  #last: Pair | undefined;

  private constructor(compiler: Wabt) {
    this.#wabt = compiler;
    this.#plainImports = { spectest: spectest() };
    this.#meteredImports = { spectest: spectest() };
  }

  static async create(): Promise<SpecWorld> {
    return new SpecWorld(await wabt());
  }

  run(command: Node): void {
    if (typeof command === "string") return;
    switch (headOf(command)) {
      case "module":
        this.#last = this.#instantiate(command);
        break;
      case "register":
        this.#register(command);
        break;
      case "invoke":
        this.#invoke(command);
        break;
      case "assert_return":
      case "assert_trap":
      case "assert_exception":
      case "assert_exhaustion": {
        const action = command.items[1];
        if (typeof action === "object" && headOf(action) === "invoke") this.#invoke(action);
        break;
      }
      default:
    }
  }

  #instantiate(command: ListNode): Pair | undefined {
    const bytes = this.#compile(command);
    if (!bytes || !WebAssembly.validate(bytes)) return undefined;
    this.modules++;
    const limits = { memoryPages: 65_536, tableEntries: 10_000_000, callDepth: 4000 };
    const plain = attempt(() => new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#plainImports).exports);
    let result: ReturnType<typeof meter>;
    try {
      result = meter(bytes, { ...limits, tables: 100 });
    } catch (error) {
      if (error instanceof ModuleRefused) {
        this.refusals.push(`${error.code} ${error.message}`);
        return undefined;
      }
      this.differences.push(`crash: ${String(error)} ${command.source.slice(0, 200)}`);
      return undefined;
    }
    const { report, module } = result;
    let gauge: Gauge | undefined;
    const metered = attempt(() => {
      const instance = new WebAssembly.Instance(new WebAssembly.Module(module), this.#meteredImports);
      gauge = new Gauge(instance.exports, report.limits);
      this.#gauges.push(gauge);
      this.#refuel();
      if (report.start !== null) call(instance.exports, report.start);
      return instance.exports;
    });
    if (typeof plain === "string" || typeof metered === "string" || !gauge) {
      // Linking memories and tables across modules fails where their clamped maxima differ from what is declared.
      if (typeof plain !== typeof metered)
        this.refusals.push(`link: ${String(plain).slice(0, 90)} / ${String(metered).slice(0, 90)}`);
      return undefined;
    }
    const pair = { plain, metered, gauge };
    const name = command.items[1];
    if (typeof name === "string" && name.startsWith("$")) this.#named.set(name, pair);
    return pair;
  }

  #compile(command: ListNode): Uint8Array<ArrayBuffer> | undefined {
    const [, second, third] = command.items;
    if (second === "definition" || second === "instance" || second === "quote" || third === "quote") return undefined;
    try {
      return new Uint8Array(this.#wabt.parseWat("x.wast", command.source, features).toBinary({}).buffer);
    } catch {
      return undefined;
    }
  }

  #register(command: ListNode): void {
    const [, quoted, name] = command.items;
    const pair = typeof name === "string" ? this.#named.get(name) : this.#last;
    if (!pair || typeof quoted !== "string") return;
    const as = JSON.parse(quoted) as string;
    this.#plainImports[as] = pair.plain as WebAssembly.ModuleImports;
    this.#meteredImports[as] = pair.metered as WebAssembly.ModuleImports;
  }

  /** Calls by a module of its own, so that arguments and results of every type pass as their bits. */
  #invoke(action: ListNode): void {
    const named = typeof action.items[1] === "string" && action.items[1].startsWith("$") ? action.items[1] : undefined;
    const pair = named === undefined ? this.#last : this.#named.get(named);
    const name = action.items[named === undefined ? 1 : 2];
    if (!pair || typeof name !== "string") return;
    const args = action.items.slice(named === undefined ? 2 : 3) as ListNode[];
    const caller = this.#caller(pair, name, args);
    if (!caller) return;
    this.calls++;
    const plain = attempt(() => caller(pair.plain));
    this.#refuel();
    const metered = attempt(() => caller(pair.metered));
    if (plain === metered || (isOverflow(plain) && isTrap(metered))) return;
    this.differences.push(`${action.source}: ${plain} metered: ${metered}`);
  }

  #refuel(): void {
    for (const gauge of this.#gauges) gauge.begin(FUEL);
  }

  #caller(pair: Pair, name: string, args: readonly ListNode[]): ((exports: WebAssembly.Exports) => string) | undefined {
    if (args.some((arg) => typeOfConstant(arg) === undefined)) return undefined;
    const resultTypes = this.#typesOf(pair, name, args);
    if (!resultTypes) return undefined;
    const given = args.map((arg) => arg.source).join(" ");
    const results = resultTypes.map((_, index) => `(local.set ${resultTypes.length - 1 - index})`).join(" ");
    const outs = resultTypes.map((type, index) => asBits(type, index));
    const text = `(module (import "m" ${name} (func $f ${typeText("param", args.map(typeOfConstant))} ${typeText("result", resultTypes)}))
      (func (export "run") (result ${outs.map(({ type }) => type).join(" ")}) ${typeText("local", resultTypes)}
        (call $f ${given}) ${results} ${outs.map(({ code }) => code).join(" ")}))`;
    const bytes = new Uint8Array(this.#wabt.parseWat("caller.wat", text, features).toBinary({}).buffer);
    const module = new WebAssembly.Module(bytes);
    const key = JSON.parse(name.replaceAll(/\\([0-9a-f]{2})/g, "\\u00$1")) as string;
    return (exports) => {
      const target = exports[key];
      if (target === undefined) return "missing";
      const instance = new WebAssembly.Instance(module, { m: { [key]: target } });
      return String(call(instance.exports, "run"));
    };
  }

  /** Result types of an exported function, found by trying which caller links. */
  #typesOf(pair: Pair, name: string, args: readonly ListNode[]): string[] | undefined {
    const cached = this.#resultTypes.get(pair)?.get(name);
    if (cached) return cached;
    const key = JSON.parse(name.replaceAll(/\\([0-9a-f]{2})/g, "\\u00$1")) as string;
    const single = ["i32", "i64", "f32", "f64", "v128", "funcref", "externref"];
    const candidates: string[][] = [
      [],
      ...single.map((type) => [type]),
      ...single.flatMap((a) => single.map((b) => [a, b])),
    ];
    for (const candidate of candidates) {
      const text = `(module (import "m" ${name} (func ${typeText("param", args.map(typeOfConstant))} ${typeText("result", candidate)})))`;
      try {
        const bytes = new Uint8Array(this.#wabt.parseWat("probe.wat", text, features).toBinary({}).buffer);
        void new WebAssembly.Instance(new WebAssembly.Module(bytes), {
          m: { [key]: pair.plain[key] },
        } as WebAssembly.Imports);
      } catch {
        continue;
      }
      const known = this.#resultTypes.get(pair) ?? new Map<string, string[]>();
      this.#resultTypes.set(pair, known.set(name, candidate));
      return candidate;
    }
    return undefined;
  }

  readonly #resultTypes = new Map<Pair, Map<string, string[]>>();
}

function asBits(type: string, local: number): { readonly type: string; readonly code: string } {
  const value = `(local.get ${local})`;
  switch (type) {
    case "f32":
      return { type: "i32", code: `(i32.reinterpret_f32 ${value})` };
    case "f64":
      return { type: "i64", code: `(i64.reinterpret_f64 ${value})` };
    case "v128":
      return { type: "i64 i64", code: `(i64x2.extract_lane 0 ${value}) (i64x2.extract_lane 1 ${value})` };
    case "funcref":
    case "externref":
      return { type: "i32", code: `(ref.is_null ${value})` };
    default:
      return { type, code: value };
  }
}

function typeText(word: string, types: readonly (string | undefined)[]): string {
  return types.length === 0 ? "" : `(${word} ${types.join(" ")})`;
}

function typeOfConstant(node: ListNode): string | undefined {
  const head = headOf(node);
  if (/^(i32|i64|f32|f64|v128)\.const$/.test(head)) return head.split(".")[0];
  if (head === "ref.null")
    return node.items[1] === "func" ? "funcref" : node.items[1] === "extern" ? "externref" : undefined;
  return undefined;
}

function call(exports: WebAssembly.Exports, name: string): unknown {
  const target = exports[name];
  if (typeof target !== "function") throw new TypeError(`no function ${name}`);
  return target();
}

/** What came out, or how it failed: the kind of failure, and the engine's words for a trap. */
function attempt<T>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : "exception";
  }
}

const isOverflow = (outcome: string): boolean => outcome.startsWith("RangeError");
const isTrap = (outcome: string): boolean => outcome.startsWith("RangeError") || outcome.includes("unreachable");

function spectest(): WebAssembly.ModuleImports {
  const ignore = (): void => undefined;
  const prints = ["print", "print_i32", "print_i64", "print_f32", "print_f64", "print_i32_f32", "print_f64_f64"];
  return {
    ...Object.fromEntries(prints.map((name) => [name, ignore])),
    global_i32: new WebAssembly.Global({ value: "i32" }, 666),
    global_i64: new WebAssembly.Global({ value: "i64" }, 666n),
    global_f32: new WebAssembly.Global({ value: "f32" }, 666.6),
    global_f64: new WebAssembly.Global({ value: "f64" }, 666.6),
    memory: new WebAssembly.Memory({ initial: 1, maximum: 2 }),
    table: new WebAssembly.Table({ element: "anyfunc", initial: 10, maximum: 20 }),
  };
}
