import { useState } from "react";
import { Icon } from "./icon.tsx";

const STORE = "recollect:theme";
const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

/** As the system, light, dark: one after the other. index.html sets what was chosen before the first paint. */
export function ThemeSwitch() {
  const [theme, setTheme] = useState<Theme>(() => THEMES.find((name) => name === localStorage.getItem(STORE)) ?? "system");
  const change = (): void => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    if (next === "system") {
      localStorage.removeItem(STORE);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(STORE, next);
      document.documentElement.dataset.theme = next;
    }
    setTheme(next);
  };
  return (
    <button type="button" className="quiet" onClick={change}>
      <Icon name="theme" /> Theme: {theme}
    </button>
  );
}
