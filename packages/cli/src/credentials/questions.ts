import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { toMillraceError } from "@millrace/client";
import { MillraceError } from "@millrace/protocol";
import type { CliContext } from "../cli-context.ts";
import { printable } from "../format-table.ts";

/** Asks a person; a program writes the answers to standard input, one a line. */
export class Questions implements Disposable {
  readonly #stderr: CliContext["stderr"];
  readonly #isTerminal: boolean;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;
  #isSecret = false;

  constructor({ stdin, stderr }: Pick<CliContext, "stdin" | "stderr">) {
    this.#stderr = stderr;
    this.#isTerminal = stdin.isTTY === true;
    const echo = new Writable({
      write: (chunk, _, done) => {
        if (!this.#isSecret) stderr.write(chunk);
        done();
      },
    });
    this.#lines = createInterface({ input: stdin, output: echo, terminal: this.#isTerminal, historySize: 0 });
    // In a terminal Ctrl-C is a key here, and no signal.
    this.#lines.on("SIGINT", () => this.#lines.close());
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** @throws MillraceError canceled when there is no answer */
  async ask(question: string): Promise<string> {
    if (this.#isTerminal) {
      this.#lines.setPrompt(`${question}: `);
      this.#lines.prompt();
    }
    return this.#answer(question);
  }

  /** As `ask`; what is typed is not shown. */
  async askSecretly(question: string): Promise<string> {
    if (this.#isTerminal) this.#stderr.write(`${question}: `);
    this.#isSecret = true;
    try {
      return await this.#answer(question);
    } finally {
      this.#isSecret = false;
      if (this.#isTerminal) this.#stderr.write("\n");
    }
  }

  /**
   * Asks for a new password; a person types it twice, and chooses another when it breaks a rule.
   * @param set is given it, and rejects with what is wrong with it
   * @returns what `set` answered
   */
  async setNewPassword<T>(question: string, set: (password: string) => Promise<T>): Promise<T> {
    for (;;) {
      const password = await this.askSecretly(question);
      if (!this.#isTerminal) return await set(password);
      if (password !== (await this.askSecretly("Once more"))) {
        this.#stderr.write("These were not the same.\n");
        continue;
      }
      try {
        return await set(password);
      } catch (reason) {
        const { code, message } = toMillraceError(reason, "the server");
        if (code !== "invalid_argument") throw reason;
        this.#stderr.write(`${printable(message, true)}\n`);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#lines.close();
  }

  async #answer(question: string): Promise<string> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new MillraceError("canceled", `${question}: no answer`);
    return value;
  }
}
