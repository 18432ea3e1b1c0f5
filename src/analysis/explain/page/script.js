(function(){
function percent(p){return p===0?"0 %":(100*p).toPrecision(3)+" %"}
document.querySelectorAll(".try").forEach(function(box){
var logits=box.dataset.logits.split(" ").map(Number),beyond=box.dataset.beyond.split(" ").map(Number);
var inputs=box.querySelectorAll("input"),outputs=box.querySelectorAll("output");
var bars=box.querySelectorAll("rect"),said=box.querySelectorAll(".q");
function draw(){
var t=+inputs[0].value,p=+inputs[1].value,at=Math.min(Math.max(10*t-1,0),beyond.length-1),low=Math.floor(at),high=Math.min(low+1,beyond.length-1);
var rest=Math.exp(beyond[low]+(beyond[high]-beyond[low])*(at-low));
var w=logits.map(function(l){return Math.exp(l/t)}),all=w.reduce(function(a,b){return a+b},rest),above=0,kept=0;
w=w.map(function(x){var own=above/all;above+=x;if(p===1||own===0||p-own>0){kept+=x;return x}return 0});
var tail=p===1?rest:Math.max(0,Math.min(rest,p*all-above));
kept+=tail;
w.concat([tail]).forEach(function(x,i){bars[i].setAttribute("width",100*x/kept);said[i].textContent=x===0?"—":percent(x/kept)});
outputs[0].textContent=t.toFixed(2);outputs[1].textContent=p.toFixed(2)}
inputs.forEach(function(i){i.addEventListener("input",draw)});
draw();box.hidden=false});
addEventListener("beforeprint",function(){document.querySelectorAll("details").forEach(function(d){d.open=true})});
})();
