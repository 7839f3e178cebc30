/**
 * Argon2id with 19 MiB, 2 passes and 1 lane: OWASP's first choice of parameters for it
 * (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html).
 */
export const passwordCosts = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
