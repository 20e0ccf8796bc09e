const box=document.querySelector('#search'),count=document.querySelector('#count');
const rows=[...document.querySelectorAll('details')];
function look(){const words=box.value.toLowerCase().split(/\s+/).filter(Boolean);let n=0;
for(const row of rows){const found=words.every(w=>row.dataset.text.includes(w));row.hidden=!found;n+=found}
count.textContent=words.length?n+' of '+rows.length:''}
box.addEventListener('input',look);
document.querySelector('#all').addEventListener('click',()=>{const shown=rows.filter(r=>!r.hidden);
const open=!shown.every(r=>r.open);for(const r of shown)r.open=open});
for(const mark of document.querySelectorAll('svg [data-n]'))mark.addEventListener('click',()=>{
const row=document.querySelector('#m'+mark.dataset.n);row.hidden=false;row.open=true;
row.scrollIntoView({block:'center'})});
