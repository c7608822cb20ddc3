const PATHS = {
  about: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 7.8v.2",
  add: "M12 5v14M5 12h14",
  again: "M4 4v6h6M20 20v-6h-6M5.5 15a7 7 0 0 0 11.7 2.5L20 14M4 10l2.8-3.5A7 7 0 0 1 18.5 9",
  bin: "M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13M10 11v5M14 11v5",
  bad: "M17 13V4h3v9zM17 13l-4 8c-2 0-3-1-2.5-3l.8-3.5H6a2 2 0 0 1-2-2.5l1.4-6A2 2 0 0 1 7.3 4H17",
  check: "M5 13l4.5 4.5L19 7",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  down: "M12 5v14M6 13l6 6 6-6",
  good: "M7 11v9H4v-9zM7 11l4-8c2 0 3 1 2.5 3l-.8 3.5H18a2 2 0 0 1 2 2.5l-1.4 6a2 2 0 0 1-1.9 2H7",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9v.1",
  menu: "M4 7h16M4 12h16M4 17h16",
  pencil: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5",
  save: "M12 4v11M7 10l5 5 5-5M4 20h16",
  settings: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
  stop: "M7 7h10v10H7z",
  tool: "M14.5 6.5a4 4 0 0 1 5-1.5L17 7.5 18.5 9l2.5-2.5a4 4 0 0 1-5.5 5L7 20l-3-3 8.5-8.5a4 4 0 0 1 2-2",
  up: "M12 19V5M6 11l6-6 6 6",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" data-icon={name}>
      <path d={PATHS[name]} />
    </svg>
  );
}
