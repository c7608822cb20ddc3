interface Props<Name extends string> {
  /** That of the panel is `{id}-panel`. */
  id: string;
  names: readonly Name[];
  chosen: Name;
  onChoose: (name: Name) => void;
}

/** One of several; the arrow keys go from one to the next. */
export function Tabs<Name extends string>({ id, names, chosen, onChoose }: Props<Name>) {
  function step(by: number) {
    const index = (names.indexOf(chosen) + by + names.length) % names.length;
    onChoose(names[index] ?? chosen);
    document.getElementById(`${id}-${index}`)?.focus();
  }
  return (
    <div
      role="tablist"
      className="tabs"
      onKeyDown={({ key }) => {
        if (key === "ArrowRight") step(1);
        if (key === "ArrowLeft") step(-1);
      }}
    >
      {names.map((name, index) => (
        <button
          key={name}
          id={`${id}-${index}`}
          type="button"
          role="tab"
          className="plain"
          aria-selected={name === chosen}
          aria-controls={`${id}-panel`}
          tabIndex={name === chosen ? 0 : -1}
          onClick={() => onChoose(name)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
