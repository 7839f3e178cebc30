import { Host } from "@extism/as-pdk";
import { Log } from "../sdk/assembly";
import { fail, respond } from "./plugin";

/** Counts the words of a text. */
export function count_words(): i32 {
  const text = Host.inputString();
  let words = 0;
  let inside = false;
  for (let at = 0; at < text.length; at++) {
    const space = text.charCodeAt(at) <= 32;
    if (!space && !inside) words++;
    inside = !space;
  }
  if (words == 0) return fail("the text is empty");
  Log.info(words.toString() + " words");
  return respond('{"words":' + words.toString() + "}");
}
