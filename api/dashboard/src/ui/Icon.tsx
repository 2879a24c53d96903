const PATHS = {
  runs: "M3 17c3 0 3-9 6-9s3 8 6 8 3-10 6-10",
  datasets: "M4 6c0-3 16-3 16 0v12c0 3-16 3-16 0zM4 6c0 3 16 3 16 0M4 12c0 3 16 3 16 0",
  plus: "M12 5v14M5 12h14",
  compare: "M4 20V10M10 20V4M16 20v-7M22 20V8",
  series: "M3 20h18M5 16l4-6 5 3 6-9",
  chat: "M4 5h16v11H10l-5 4v-4H4z",
  gear: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 2v4M12 18v4M2 12h4M18 12h4M5 5l3 3M16 16l3 3M19 5l-3 3M8 16l-3 3",
  leave: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  menu: "M4 7h16M4 12h16M4 17h16",
  cross: "M6 6l12 12M18 6L6 18",
  check: "M4 12l5 5L20 6",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.5",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  upload: "M12 16V5M7 9l5-5 5 5M4 20h16",
  pause: "M8 5v14M16 5v14",
  play: "M7 4l13 8-13 8z",
  stop: "M6 6h12v12H6z",
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside words, or within a button that has a label; says nothing by itself. */
export function Icon({ name }: { name: IconName }) {
  return <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d={PATHS[name]} /></svg>;
}
