import { z } from "@millrace/service-kit";

/** Of one answer of a plugin. */
const mostHeaders = 64;

/** A token of RFC 9110, section 5.6.2. */
export const pluginHeaderName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/);
const value = z.string().regex(/^[\t\x20-\x7e\x80-\xff]{0,4096}$/);

/** Headers that a plugin asks for: whether it may set them is another question. */
export const pluginHeaders = z
  .record(pluginHeaderName, value)
  .refine((headers) => Object.keys(headers).length <= mostHeaders, `at most ${mostHeaders} headers`)
  .default({});
