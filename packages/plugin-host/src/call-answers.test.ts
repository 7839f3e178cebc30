import { expect, test } from "vitest";
import { LiveAnswers } from "./call-answers.ts";

test("a flood of small answers is not kept: each would cost those who take them over", () => {
  const answers = new LiveAnswers(undefined, true);
  for (let i = 0; i < 2000; i++) answers.learn("clock", () => new Uint8Array(8));
  expect(answers.recording).toMatchObject({ answers: { length: 2000 }, truncated: false });
  answers.learn("clock", () => new Uint8Array(8));
  expect(answers.recording).toEqual({ answers: [], truncated: true });
});
