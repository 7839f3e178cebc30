import { z } from "zod";

/** Where in a database this installation is, when others are in it too. */
export const databaseSettings = {
  databaseSchema: z
    .string()
    .regex(
      /^(?!pg_)[a-z_][a-z0-9_]{0,62}$/,
      "must be at most 63 small letters, digits and underscores, and begin neither with a digit nor with pg_",
    )
    .optional()
    .describe(
      "Schema of PostgreSQL that everything is kept in, made when it is missing; left out, the role's own: public",
    ),
};
