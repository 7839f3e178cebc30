/** An email as it is compared: two that differ only in case or in how Unicode writes a letter are one. */
export function emailKey(email: string): string {
  return email.trim().normalize("NFKC").toLowerCase();
}
