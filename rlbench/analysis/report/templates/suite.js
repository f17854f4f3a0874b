(function () {
  "use strict";
  var bar = document.getElementById("filter");
  var rows = Array.prototype.slice.call(document.querySelectorAll("table.claims tbody tr"));
  var buttons = Array.prototype.slice.call(bar.querySelectorAll("button"));
  var field = bar.querySelector("input");
  var shown = bar.querySelector("output");
  var wanted = "";

  function apply() {
    var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    var count = 0;
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      var fits = !wanted || row.dataset.verdict === wanted;
      fits = fits && words.every(function (word) { return text.indexOf(word) >= 0; });
      row.hidden = !fits;
      count += fits ? 1 : 0;
    });
    shown.textContent = count === rows.length ? "" : count + " of " + rows.length + " shown";
  }

  buttons.forEach(function (button) {
    button.addEventListener("click", function () {
      wanted = button.value;
      buttons.forEach(function (one) { one.setAttribute("aria-pressed", String(one === button)); });
      apply();
    });
  });
  field.addEventListener("input", apply);
  bar.hidden = false;
  apply();
})();
