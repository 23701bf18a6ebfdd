const MARK = '[redacted]';
const RUN = 8;

/**
 * Makes a function for error texts, which also removes what follows `Bearer`, keys that start with
 * `sk-`, and masked keys as `ab***yz`: servers quote keys in such forms.
 */
export function redactor(secret: string | undefined): (text: string) => string {
  return (text) => {
    return dropSecret(text, secret)
      .replace(/\b(Bearer\s+)[^\s"',}]+/gi, `$1${MARK}`)
      .replace(/[\w-]{0,64}[\w-]\*{3,}[\w-]{0,64}/g, MARK)
      .replace(/\bsk-[\w-]{4,}/g, MARK);
  };
}

/** Removes a secret, and any piece of 8 or more of its characters, from text. */
export function dropSecret(text: string, secret: string | undefined): string {
  if (secret === undefined || secret === '') return text;
  const size = Math.min(RUN, secret.length);
  const pieces = new Set<string>();
  for (let at = 0; at + size <= secret.length; at += 1) pieces.add(secret.slice(at, at + size));
  let out = '';
  let hiddenUntil = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (at + size <= text.length && pieces.has(text.slice(at, at + size))) {
      if (at >= hiddenUntil) out += MARK;
      hiddenUntil = Math.max(hiddenUntil, at + size);
    }
    if (at >= hiddenUntil) out += text[at];
  }
  return out;
}
