interface Props {
  id: string;
  /** So many characters; 0: it is not too long. */
  over: number;
  maxChars: number;
}

export function TooLong({ id, over, maxChars }: Props) {
  if (over === 0) return null;
  return (
    <p id={id} className="too-long" role="status">
      {over.toLocaleString("en")} {over === 1 ? "character" : "characters"} too many: a message has at most{" "}
      {maxChars.toLocaleString("en")}.
    </p>
  );
}
