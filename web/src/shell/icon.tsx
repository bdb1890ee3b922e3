const PATHS = {
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  menu: "M4 7h16M4 12h16M4 17h16",
  memory: "M12 3a6 6 0 0 0-6 6c0 2.2 1 3.6 2.2 4.8.7.8.8 1.4.8 2.2h6c0-.8.1-1.4.8-2.2C17 12.6 18 11.2 18 9a6 6 0 0 0-6-6zM9.5 20h5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  remove: "M5 7h14M10 7V5h4v2M7 7l1 13h8l1-13",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 13l4 4L19 7",
  undo: "M9 7L5 11l4 4M5 11h9a5 5 0 0 1 0 10h-2",
  copy: "M9 9h10v11H9zM5 15V4h10",
  why: "M12 20a8 8 0 1 1 0-16 8 8 0 0 1 0 16zM9.8 9.8a2.3 2.3 0 1 1 3.2 2.1c-.7.3-1 .8-1 1.6M12 16.4v.1",
  theme: "M12 20a8 8 0 1 1 0-16 8 8 0 0 1 0 16zM12 4v16M12 8h5.7M12 12h8M12 16h5.7",
  status: "M4 13h3l3-8 4 14 3-6h3",
  code: "M9 7l-5 5 5 5M15 7l5 5-5 5",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM5 20c.8-3.6 3.6-5 7-5s6.2 1.4 7 5",
  down: "M12 5v14M6 13l6 6 6-6",
  chevron: "M9 6l6 6-6 6",
} as const;

export type IconName = keyof typeof PATHS;

/** Beside words, or in a button that has a label: it says nothing by itself. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
